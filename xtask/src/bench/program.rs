//! The programs that are compared, each from a template beside this file; one worker, nothing switched on in the
//! peers that the work does not need.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificates::Identity;
use super::peer::{Job, Shape, Side};
use super::process::free_port;
use super::{Bench, Outcome, outrigger, tools};

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Outrigger,
    Nginx,
    Haproxy,
    Envoy,
}

impl Program {
    /// In the order of the report.
    pub const ALL: [Self; 4] = [Self::Outrigger, Self::Nginx, Self::Haproxy, Self::Envoy];

    /// As the report names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Outrigger => "outrigger",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// What `--version` says, in short.
    pub fn version(self, bench: &Bench) -> Option<String> {
        let (program, argument) = match self {
            Self::Outrigger => (bench.binaries.sidecar.clone(), "--version"),
            Self::Nginx => (tools::find("nginx")?, "-v"),
            Self::Haproxy => (tools::find("haproxy")?, "-v"),
            Self::Envoy => (bench.envoy.clone().ok()?, "--version"),
        };
        let output = Command::new(program).arg(argument).output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let mut words = said.split(|byte: char| !byte.is_ascii_digit() && byte != '.');
        words.find(|word| word.split('.').filter(|part| !part.is_empty()).count() >= 3).map(str::to_owned)
    }

    /// Its configuration for one side of a job, to be filled in.
    pub fn template(self, shape: Shape, side: Side) -> &'static str {
        macro_rules! parts {
            ($program:literal, $suffix:literal) => {
                match (shape, side) {
                    (Shape::OneHop, _) => include_str!(concat!("peers/", $program, "/one-hop.", $suffix)),
                    (Shape::TwoHops, Side::Caller) => {
                        include_str!(concat!("peers/", $program, "/caller.", $suffix))
                    }
                    (Shape::TwoHops, Side::Callee) => {
                        include_str!(concat!("peers/", $program, "/callee.", $suffix))
                    }
                    (Shape::Bytes, Side::Caller) => {
                        include_str!(concat!("peers/", $program, "/tcp-caller.", $suffix))
                    }
                    (Shape::Bytes, Side::Callee) => {
                        include_str!(concat!("peers/", $program, "/tcp-callee.", $suffix))
                    }
                }
            };
        }
        match self {
            Self::Outrigger => parts!("outrigger", "yaml"),
            Self::Nginx => parts!("nginx", "conf"),
            Self::Haproxy => parts!("haproxy", "cfg"),
            Self::Envoy => parts!("envoy", "yaml"),
        }
    }

    /// What the templates leave open because the programs spell it differently: (name, value).
    pub fn words(self, job: &Job) -> Vec<(&'static str, String)> {
        let (between, outside) = (job.between.is_http2(), job.outside.is_http2());
        let outside = match (self, outside) {
            (Self::Haproxy, true) => "proto h2",
            (Self::Nginx, true) => "http2",
            (Self::Envoy, true) => "http2_protocol_options",
            (Self::Envoy, false) => "http_protocol_options",
            _ => "",
        };
        let options = if between { "http2_protocol_options" } else { "http_protocol_options" };
        let alpn = if between { "h2" } else { "http/1.1" };
        vec![
            ("alpn", alpn.into()),
            ("between", options.into()),
            ("outside", outside.into()),
            ("modules", tools::MODULES.into()),
            ("workers", job.workers.to_string()),
        ]
    }

    /// What runs it in the foreground.
    ///
    /// # Errors
    /// The program is not here.
    pub fn command(
        self,
        bench: &Bench,
        file: &Path,
        identity: &Identity,
        workers: usize,
    ) -> Outcome<Command> {
        let mut command = match self {
            Self::Outrigger => {
                let sidecar = &bench.binaries.sidecar;
                return Ok(outrigger::command(sidecar, file, &identity.folder, workers, free_port()?));
            }
            Self::Nginx => tools::command("nginx"),
            Self::Haproxy => tools::command("haproxy"),
            Self::Envoy => Command::new(bench.envoy.as_ref().map_err(String::clone)?),
        };
        match self {
            Self::Outrigger => {}
            Self::Nginx => {
                command.arg("-c").arg(file).arg("-e").arg(bench.scratch.path("nginx-early.log"));
            }
            // -db: stay in the foreground, one process.
            Self::Haproxy => {
                command.arg("-db").arg("-f").arg(file);
            }
            Self::Envoy => {
                command.args(["--disable-hot-restart", "--log-level", "error", "--concurrency"]);
                command.arg(workers.to_string()).arg("-c").arg(file);
            }
        }
        Ok(command)
    }

    /// How its files end: Envoy goes by that.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Outrigger | Self::Envoy => "yaml",
            Self::Nginx => "conf",
            Self::Haproxy => "cfg",
        }
    }
}

/// A template with each `@name@` replaced.
pub fn fill(template: &str, words: &[(&str, String)]) -> String {
    words.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

/// What a template says about key, certificate and authority.
pub fn files(identity: &Identity, roots: &Path) -> Vec<(&'static str, String)> {
    let text = |path: PathBuf| path.display().to_string();
    vec![
        ("bundle", text(identity.bundle.clone())),
        ("chain", text(identity.folder.join("chain.pem"))),
        ("key", text(identity.folder.join("key.pem"))),
        ("roots", text(roots.to_path_buf())),
    ]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::peer::Http;
    use super::*;

    #[test]
    fn nothing_is_left_open_in_any_template() {
        let application: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let identity = Identity { folder: "/folder".into(), bundle: "/folder/bundle.pem".into() };
        let filled =
            ["entry", "mesh", "application", "entry_port", "mesh_port", "application_port", "folder", "name"];
        for program in Program::ALL {
            for shape in [Shape::OneHop, Shape::TwoHops, Shape::Bytes] {
                for side in [Side::Caller, Side::Callee] {
                    let (between, outside) = (Http::Two, Http::Two);
                    let job = Job { shape, between, outside, application, workers: 1, cpus: None };
                    let mut text = fill(program.template(shape, side), &program.words(&job));
                    text = fill(&text, &files(&identity, Path::new("/folder/ca.pem")));
                    text = fill(&text, &filled.map(|name| (name, "1".to_owned())));
                    // Comments name them; Envoy has types.
                    let open =
                        text.lines().filter(|line| !line.starts_with('#') && !line.contains("\"@type\""));
                    let open: Vec<&str> = open.filter(|line| line.contains('@')).collect();
                    assert!(open.is_empty(), "{program:?} {shape:?} {side:?}: {open:?}");
                }
            }
        }
    }
}
