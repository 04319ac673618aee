//! What can be written after `outrigger`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde::{Deserialize, Serialize};

use crate::compile::CompileArguments;
use crate::init::InitArguments;
use crate::inject::{ComposeArguments, EcsArguments};
use crate::policy::PolicyArguments;

/// Exit codes, as every page of the manual ends with them.
const EXIT: &str = "Exit codes: 0 good; 1 something is wrong, or failed; 64 bad usage or bad configuration.";

/// The service mesh for docker compose and Amazon ECS, from the command line
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, arg_required_else_help = true, propagate_version = true, after_help = EXIT)]
pub struct Arguments {
    /// File with a section `cli:` [OUTRIGGER_SETTINGS] [default: /etc/outrigger/settings.yaml, if there]
    #[arg(long, value_name = "FILE", global = true)]
    pub settings: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Colour the output; `auto`: on a terminal, unless NO_COLOR is set [OUTRIGGER_COLOR] [default: auto]
    #[arg(long, value_name = "WHEN", global = true)]
    pub color: Option<Color>,
}

const STATUS_EXAMPLES: &str = "Examples:
  docker compose exec outrigger /outrigger status
  outrigger status --watch
  outrigger status --strict-check cart
  outrigger status --json | jq '.edges[] | select(.mtls | not)'";
const INJECT_COMPOSE_EXAMPLES: &str = "Examples:
  outrigger inject compose docker-compose.yaml outrigger.yaml --output meshed.yaml
  docker compose -f meshed.yaml up -d

  outrigger inject compose compose.yaml outrigger.yaml --overlay > overlay.yaml
  docker compose -f compose.yaml -f outrigger.yaml -f overlay.yaml up -d

  outrigger inject compose --diff | less          # what would change, in the project of this directory";
const INJECT_ECS_EXAMPLES: &str = "Examples:
  PIN=$(outrigger status --json | jq -r .control_pin)
  IMAGE=111122223333.dkr.ecr.eu-west-1.amazonaws.com/outrigger-sidecar:0.1.0
  outrigger inject ecs cart.json --pin $PIN --image $IMAGE --output cart.meshed.json
  aws ecs register-task-definition --cli-input-json file://cart.meshed.json
  aws ecs update-service --cluster shop --service cart --task-definition cart

  aws ecs describe-task-definition --task-definition cart --include TAGS |
    outrigger inject ecs - --pin $PIN --image $IMAGE --diff
  outrigger inject ecs cart.json --pin $PIN --image $IMAGE --resources add     # a larger task, instead of what its containers leave
  outrigger inject ecs cart.json --control /run/outrigger --image $IMAGE       # on the EC2 instance of the controller
  outrigger inject ecs cart.meshed.json --pin $PIN --image $IMAGE --check      # for CI: is it meshed as this version would?
  outrigger inject ecs cart.meshed.json --remove > cart.json                   # and back";
const POLICY_EXAMPLES: &str = "Examples:
  outrigger iam-policy --cluster shop --account 111122223333 --region eu-west-1 --queue outrigger > policy.json
  aws iam put-role-policy --role-name outrigger --policy-name outrigger --policy-document file://policy.json

  outrigger iam-policy --cluster arn:aws:ecs:eu-west-1:111122223333:cluster/shop --zone Z0123456789ABCDEFGHIJ --inject \\
    --pass-role arn:aws:iam::111122223333:role/cart,arn:aws:iam::111122223333:role/execution";
const UPGRADE_EXAMPLES: &str = "Examples:
  docker compose exec outrigger /outrigger upgrade
  outrigger upgrade --dry-run
  outrigger upgrade cart --deadline 5m
  outrigger upgrade --image outrigger-sidecar:0.1.0";
const COMPLETIONS_EXAMPLES: &str = "Examples:
  outrigger completions bash > ~/.local/share/bash-completion/completions/outrigger
  outrigger completions fish | source";
const INIT_EXAMPLES: &str = "Examples:
  outrigger init
  outrigger init docker-compose.yaml outrigger.yaml --output mesh/mesh.yaml";
const COMPILE_EXAMPLES: &str = "Examples:
  outrigger compile docker-compose.yaml outrigger.yaml --for web
  outrigger compile docker-compose.yaml outrigger.yaml --mesh-file mesh/mesh.yaml --json | jq '.[].services | keys'";
const CHECK_EXAMPLES: &str = "Examples:
  outrigger check
  outrigger check mesh/mesh.yaml
  outrigger check --json mesh.yaml | jq -r '.[] | \"\\(.line): \\(.what)\"'";
const SCHEMA_EXAMPLES: &str = "Examples:
  outrigger schema > mesh.schema.json
  (and, as the first line of mesh.yaml: # yaml-language-server: $schema=mesh.schema.json)";
const SETTINGS_EXAMPLES: &str = "Examples:
  outrigger settings
  outrigger settings --settings ./settings.yaml";
const MAN_EXAMPLES: &str = "Examples:
  outrigger man | man -l -
  outrigger man --directory /usr/local/share/man/man1";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show services, endpoints, sidecars and who calls whom, and what is wrong
    ///
    /// Exits with 0 if nothing is wrong, 1 if something is or the controller cannot be reached, 64 for bad usage.
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status(StatusArguments),
    /// Mesh a definition before anything starts, so that no application ever runs a moment unmeshed
    Inject {
        /// What is meshed.
        #[command(subcommand)]
        what: Inject,
    },
    /// Print the least IAM policy that the controller of ECS clusters needs
    ///
    /// Each statement is explained in docs/ecs-injection.md. No call is made to AWS. Exits with 0, or 64 for bad usage.
    #[command(after_long_help = POLICY_EXAMPLES)]
    IamPolicy(PolicyArguments),
    /// Write a first mesh file for a compose project, with every setting explained
    #[command(after_long_help = INIT_EXAMPLES)]
    Init(InitArguments),
    /// Print what the sidecars of a compose project would get, with nothing running
    ///
    /// Every replica is taken to run and to listen on the ports that the files publish, expose or label; addresses are made
    /// up. One document of what comes out is a file for `outrigger-sidecar --config`.
    ///
    /// Exits with 0 if it is done, 1 if compose fails, 64 if the project or the mesh file cannot be used.
    #[command(after_long_help = COMPILE_EXAMPLES)]
    Compile(CompileArguments),
    /// Say everything that is wrong with mesh files, and what to write instead
    ///
    /// Reads the files as the controller does and changes nothing. Exits with 0 if all are good, 64 if any is not.
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(CheckArguments),
    /// Print the JSON Schema of the mesh file, for editors
    #[command(after_long_help = SCHEMA_EXAMPLES)]
    Schema,
    /// Replace running sidecars by those of another image, one by one, with no request lost
    ///
    /// Exits with 0 when every sidecar has the image, 1 if one was not replaced, 64 for bad usage.
    #[command(after_long_help = UPGRADE_EXAMPLES)]
    Upgrade(UpgradeArguments),
    /// Print the settings in force, each with where it came from
    #[command(after_long_help = SETTINGS_EXAMPLES)]
    Settings,
    /// Print completions for a shell, to be sourced or put where it looks for them
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual of this command, or write one page for each command into a directory
    #[command(after_long_help = MAN_EXAMPLES)]
    Man {
        /// Write `outrigger.1`, `outrigger-status.1`, … there
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
}

/// What can be meshed before it starts.
#[derive(Debug, Subcommand)]
pub enum Inject {
    /// Print a compose project with its mesh written in
    ///
    /// Compose itself reads the files, as `docker compose config`. For each replica of a labelled service the result has a
    /// holder (owns the network: ports, aliases, host name are there), a sidecar, a step that waits for it, and only then the
    /// service. Variables stay variables, values of environment files stay in their files (docker-compose 1.29 cannot keep
    /// them out: then the file is made readable for you alone).
    ///
    /// Exits with 0 if it is done, 1 if compose fails, 64 if the project cannot be meshed; then every reason is listed.
    #[command(after_long_help = INJECT_COMPOSE_EXAMPLES)]
    Compose(ComposeArguments),
    /// Print an ECS task definition with its mesh written in, or taken out again
    ///
    /// The sidecar is added, every container waits until it is healthy, and the task's traffic is captured the best way that
    /// the task can have: by the platform or by names on Fargate, by a capture step on EC2 awsvpc, explicitly in bridge and
    /// host mode. Fields that are not the mesh's stay as they are. Injecting the result again changes nothing, or brings a
    /// newer sidecar. No call is made to AWS.
    ///
    /// Exits with 0 if it is done, 1 if --check finds a difference or the file cannot be written, 64 if it cannot be meshed;
    /// then every reason is listed.
    #[command(after_long_help = INJECT_ECS_EXAMPLES)]
    Ecs(EcsArguments),
}

/// Arguments of `outrigger check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The mesh files; `-` is standard input
    #[arg(value_name = "FILE", default_value = "./mesh.yaml")]
    pub files: Vec<PathBuf>,
    /// Print the faults as one JSON array: file, line, column, path, found, what, help, code, severity
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `outrigger status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Print the controller's answer as JSON
    #[arg(long)]
    pub json: bool,
    /// Show it again every so many seconds, until interrupted [default when given bare: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
    /// Say only what keeps strict from being switched on for these services (all where none is named); exit with 1 if
    /// anything does
    #[arg(long, value_name = "SERVICE", num_args = 0.., conflicts_with_all = ["watch", "json"])]
    pub strict_check: Option<Vec<String>>,
    /// Where the controller answers; plain HTTP [OUTRIGGER_CONTROLLER] [default: http://127.0.0.1:15021]
    #[arg(long, value_name = "URL")]
    pub controller: Option<String>,
}

impl StatusArguments {
    /// Time between two pictures of `--watch`.
    pub fn interval(&self) -> Option<Duration> {
        self.watch.map(Duration::from_secs)
    }
}

/// Arguments of `outrigger upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeArguments {
    /// Only these workloads or services (`shop-cart-1`, `cart`, `cart.shop`) [default: all]
    #[arg(value_name = "WORKLOAD|SERVICE")]
    pub names: Vec<String>,
    /// Another image than the controller gives to new sidecars
    #[arg(long)]
    pub image: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print what happens as JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// How long an old sidecar may take for what still runs in it: 30s, 5m, 1h. Then it cuts what is left
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::upgrade::deadline)]
    pub deadline: Duration,
    /// The controller's socket, in its state directory
    #[arg(long, value_name = "PATH", default_value = "/var/lib/outrigger/admin.sock")]
    pub socket: PathBuf,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal that can, unless NO_COLOR is set (no-color.org).
    Auto,
    /// Also into a pipe.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether a stream gets colours.
    pub fn wanted(self, on: &impl IsTerminal) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self {
            Self::Auto => on.is_terminal() && !set("NO_COLOR") && !dumb,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn watch_takes_seconds_or_nothing() {
        let watch = |words: &[&str]| {
            let arguments = Arguments::try_parse_from(["outrigger", "status"].iter().chain(words)).ok()?;
            let Command::Status(status) = arguments.command else { return None };
            Some(status.watch)
        };
        assert_eq!(watch(&[]), Some(None));
        assert_eq!(watch(&["--watch"]), Some(Some(2)));
        assert_eq!(watch(&["--watch", "10"]), Some(Some(10)));
        assert_eq!(watch(&["--watch", "0"]), None);
        assert_eq!(watch(&["--watch", "often"]), None);
    }
}
