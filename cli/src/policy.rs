//! `outrigger iam-policy`: what the controller's role must be allowed on AWS, and nothing else. A test holds the actions here
//! against the calls in the controller's source.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::USAGE;

/// Arguments of `outrigger iam-policy`.
#[derive(Clone, Debug, Args)]
pub struct PolicyArguments {
    /// ECS clusters: names, or ARNs with commas between them, which say account and region as well
    #[arg(long, value_name = "CLUSTER", value_delimiter = ',', required = true)]
    pub cluster: Vec<String>,
    /// The account, where a name of a cluster does not say it
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// The region, where a name of a cluster does not say it
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// ARN, or name, of the SQS queue that tells of changes
    #[arg(long, value_name = "QUEUE")]
    pub queue: Option<String>,
    /// Id of the private hosted zone that it writes the names of services into
    #[arg(long, value_name = "ID")]
    pub zone: Option<String>,
    /// Id of the private hosted zone that it writes the addresses of tasks with edge ports into, for callers outside the mesh
    #[arg(long, value_name = "ID")]
    pub edge_zone: Option<String>,
    /// Namespaces of Cloud Map that it looks services up in (`cloud-map` in the mesh file): names, with commas between them
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    pub cloud_map: Vec<String>,
    /// It injects into services with the tag `outrigger:inject`
    #[arg(long)]
    pub inject: bool,
    /// Roles of the services' task definitions, task and execution roles: ARNs, with commas between them. Needed with --inject
    #[arg(long, value_name = "ARN", value_delimiter = ',', requires = "inject")]
    pub pass_role: Vec<String>,
}

/// What a policy is made for.
struct Place {
    partition: String,
    region: String,
    account: String,
    /// Names.
    clusters: Vec<String>,
}

impl Place {
    fn read(arguments: &PolicyArguments) -> Result<Self, String> {
        let (mut partition, mut region, mut account) =
            ("aws".to_owned(), arguments.region.clone(), arguments.account.clone());
        let mut clusters = Vec::new();
        for cluster in arguments.cluster.iter().filter(|cluster| !cluster.is_empty()) {
            let parts: Vec<&str> = cluster.split(':').collect();
            match parts.as_slice() {
                [name] => clusters.push((*name).to_owned()),
                ["arn", of, "ecs", at, whose, rest] if rest.starts_with("cluster/") => {
                    partition = (*of).to_owned();
                    said(&mut region, at, "--region")?;
                    said(&mut account, whose, "--account")?;
                    clusters.push(rest.trim_start_matches("cluster/").to_owned());
                }
                _ => {
                    return Err(format!(
                        "--cluster {cluster}: write a name, or arn:aws:ecs:REGION:ACCOUNT:cluster/NAME"
                    ));
                }
            }
        }
        let region = region.ok_or("--region is missing: write it, such as --region eu-west-1")?;
        let account = account.ok_or("--account is missing: write it, such as --account 111122223333")?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("--account {account}: write 12 digits"));
        }
        if region.starts_with("cn-") {
            partition = "aws-cn".into();
        } else if region.starts_with("us-gov-") {
            partition = "aws-us-gov".into();
        }
        Ok(Self { partition, region, account, clusters })
    }

    fn arn(&self, service: &str, what: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{what}", self.partition, self.region, self.account)
    }

    fn each_cluster(&self, before: &str, after: &str) -> Value {
        self.clusters.iter().map(|cluster| self.arn("ecs", &format!("{before}{cluster}{after}"))).collect()
    }
}

/// Two places that say the same.
fn said(known: &mut Option<String>, here: &str, option: &str) -> Result<(), String> {
    match known {
        Some(known) if known != here => {
            Err(format!("{option} {known}: a cluster's ARN says {here}: a policy is for one"))
        }
        _ => {
            *known = Some(here.to_owned());
            Ok(())
        }
    }
}

fn statement(sid: &str, actions: &[&str], resource: Value, condition: Option<Value>) -> Value {
    let mut statement = Map::new();
    statement.insert("Sid".into(), sid.into());
    statement.insert("Effect".into(), "Allow".into());
    statement.insert("Action".into(), json!(actions));
    statement.insert("Resource".into(), resource);
    if let Some(condition) = condition {
        statement.insert("Condition".into(), condition);
    }
    Value::Object(statement)
}

/// The policy. Each statement has its reason in docs/ecs-injection.md.
fn policy(arguments: &PolicyArguments) -> Result<Value, String> {
    let place = Place::read(arguments)?;
    let in_clusters = json!({ "ArnEquals": { "ecs:cluster": place.each_cluster("cluster/", "") } });
    let look = ["ecs:ListTasks", "ecs:ListServices", "ecs:DescribeTasks", "ecs:DescribeServices"];
    let mut statements = vec![
        statement("Clusters", &["ecs:DescribeClusters"], place.each_cluster("cluster/", ""), None),
        statement("Look", &look, "*".into(), Some(in_clusters)),
        // ECS has no finer resource for it.
        statement("Definitions", &["ecs:DescribeTaskDefinition"], "*".into(), None),
    ];
    if let Some(queue) = &arguments.queue {
        let arn = if queue.starts_with("arn:") { queue.clone() } else { place.arn("sqs", queue) };
        statements.push(statement("Events", &["sqs:ReceiveMessage", "sqs:DeleteMessage"], arn.into(), None));
    }
    // Addresses, and beside each a note of whose it is.
    let zones = [
        ("--zone", &arguments.zone, ["Zone", "Names"], &["A", "TXT"][..]),
        ("--edge-zone", &arguments.edge_zone, ["EdgeZone", "EdgeNames"], &["A", "AAAA", "TXT"]),
    ];
    for (option, zone, sids, kinds) in zones {
        if let Some(zone) = zone {
            statements.extend(hosted_zone((option, zone), sids, kinds, &place)?);
        }
    }
    if !arguments.cloud_map.is_empty() {
        // Cloud Map has no resource for them but conditions.
        let look = ["servicediscovery:DiscoverInstances", "servicediscovery:DiscoverInstancesRevision"];
        let there = json!({ "StringEquals": { "servicediscovery:NamespaceName": arguments.cloud_map } });
        statements.push(statement("Outside", &look, "*".into(), Some(there)));
    }
    if arguments.inject {
        statements.extend(injection(arguments, &place)?);
    }
    Ok(json!({ "Version": "2012-10-17", "Statement": statements }))
}

fn hosted_zone(
    (option, zone): (&str, &str),
    [look, change]: [&str; 2],
    kinds: &[&str],
    place: &Place,
) -> Result<[Value; 2], String> {
    let id = zone.trim_start_matches("/hostedzone/");
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("{option} {zone}: write the id of a hosted zone, such as Z0123456789ABCDEFGHIJ"));
    }
    let arn = Value::from(format!("arn:{}:route53:::hostedzone/{id}", place.partition));
    let read = ["route53:GetHostedZone", "route53:ListResourceRecordSets"];
    let kinds =
        json!({ "ForAllValues:StringEquals": { "route53:ChangeResourceRecordSetsRecordTypes": kinds } });
    Ok([
        statement(look, &read, arn.clone(), None),
        statement(change, &["route53:ChangeResourceRecordSets"], arn, Some(kinds)),
    ])
}

fn injection(arguments: &PolicyArguments, place: &Place) -> Result<Vec<Value>, String> {
    if let Some(role) = arguments.pass_role.iter().find(|role| !role.contains(":role/")) {
        return Err(format!(
            "--pass-role {role}: write the ARN of a role, such as arn:aws:iam::111122223333:role/cart"
        ));
    }
    let tagged = json!({ "StringEquals": { "aws:ResourceTag/outrigger:inject": "true" } });
    let ours = json!({ "Null": { "aws:RequestTag/outrigger:injected-from": "false" } });
    let on_creation = json!({ "StringEquals": { "ecs:CreateAction": "RegisterTaskDefinition" } });
    let to_tasks = json!({ "StringEquals": { "iam:PassedToService": "ecs-tasks.amazonaws.com" } });
    let revisions = place.arn("ecs", "task-definition/*");
    let mut statements = vec![
        statement("Move", &["ecs:UpdateService"], place.each_cluster("service/", "/*"), Some(tagged)),
        statement("Register", &["ecs:RegisterTaskDefinition"], "*".into(), Some(ours)),
        statement("TagRevisions", &["ecs:TagResource"], revisions.into(), Some(on_creation)),
    ];
    if !arguments.pass_role.is_empty() {
        statements.push(statement(
            "PassRoles",
            &["iam:PassRole"],
            json!(arguments.pass_role),
            Some(to_tasks),
        ));
    }
    Ok(statements)
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &PolicyArguments) -> io::Result<ExitCode> {
    match policy(arguments) {
        Ok(policy) => {
            if arguments.inject && arguments.pass_role.is_empty() {
                eprintln!(
                    "outrigger: without --pass-role, only definitions that have no role can be injected into"
                );
            }
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, &policy)?;
            writeln!(out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            eprintln!("outrigger: {fault}");
            Ok(ExitCode::from(USAGE))
        }
    }
}
