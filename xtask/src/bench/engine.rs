//! What needs a Docker engine and our images: sizes, the controller's memory, and the gap from an application's
//! start to its serving sidecar, in a mesh of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::compare::median;
use super::process::Memory;
use super::report::{Report, Row};
use super::{Outcome, ask, saves, tools};
use crate::engine::Engine;
use crate::images;

/// Containers that are injected, one after the other.
const APPLICATIONS: usize = 10;
/// Where the controller answers.
const STATUS_PORT: u16 = 15021;
/// Until a container is up and injected; until all is gone.
const PATIENCE: Duration = Duration::from_secs(30);

const IMAGE: (&str, f64) = ("sidecar: image", 15.0);
const GAP: (&str, f64) = ("from start event to serving sidecar, median", 400.0);
const SAVE: (&str, f64) = ("from saved mesh.yaml to all acked, median", 100.0);
const CONTROLLER: (&str, f64) = ("controller: resident, 10 workloads", 30.0);

/// Measures what can be measured here; the rest is listed with the reason.
pub fn measure(report: &mut Report) -> Outcome<()> {
    let (size, live) = match prepare() {
        Ok((engine, stage)) => {
            let measured = (image_size(&stage.own_image("sidecar")), live(&stage));
            drop(stage);
            if let Err(fault) = engine.stop() {
                eprintln!("{fault}");
            }
            measured
        }
        Err(why) => (Err(why.clone()), Err(why)),
    };
    report.add(match size {
        Ok(bytes) => Row::at_most(IMAGE.0, "MB", bytes / 1e6, IMAGE.1),
        Err(why) => Row::missing(IMAGE.0, "MB", IMAGE.1, why),
    });
    let first_line = |why: String| why.lines().next().unwrap_or_default().to_owned();
    let (gap, saves, controller) = match live {
        Ok(Live { gap, saves, controller }) => {
            (gap.map_err(first_line), saves.map_err(first_line), Ok(controller))
        }
        Err(why) => (Err(first_line(why.clone())), Err(first_line(why.clone())), Err(first_line(why))),
    };
    match gap {
        Ok((median, longest)) => {
            report.add(Row::at_most(GAP.0, "ms", median, GAP.1));
            report.add(Row::number("the longest", "ms", longest));
        }
        Err(why) => report.add(Row::missing(GAP.0, "ms", GAP.1, why)),
    }
    match saves {
        Ok(took) => {
            let longest = took.iter().copied().fold(0.0, f64::max);
            report.add(Row::at_most(SAVE.0, "ms", median(took), SAVE.1));
            report.add(Row::number("the longest", "ms", longest));
        }
        Err(why) => report.add(Row::missing(SAVE.0, "ms", SAVE.1, why)),
    }
    report.add(match controller {
        Ok(resident) => Row::at_most(CONTROLLER.0, "MiB", resident, CONTROLLER.1),
        Err(why) => Row::missing(CONTROLLER.0, "MiB", CONTROLLER.1, why),
    });
    Ok(())
}

/// What a small mesh on this engine showed.
struct Live {
    /// Median and longest, ms.
    gap: Outcome<(f64, f64)>,
    /// From each saved mesh file to all sidecars, ms.
    saves: Outcome<Vec<f64>>,
    /// Resident, MiB.
    controller: f64,
}

/// Release images under a tag of this run.
fn prepare() -> Outcome<(Engine, Stage)> {
    let engine = Engine::ensure().map_err(|fault| fault.to_string())?;
    let stage = Stage { name: format!("bench-{}", std::process::id()) };
    images::tagged(&engine, true, &stage.name).map_err(|fault| fault.to_string())?;
    Ok((engine, stage))
}

fn live(stage: &Stage) -> Outcome<Live> {
    stage.application_image()?;
    docker(&["network", "create", &stage.name])?;
    std::fs::create_dir_all(stage.folder()).map_err(|error| error.to_string())?;
    let controller = stage.controller()?;
    let status = stage.address()?;
    stage.until("the controller is ready", || {
        asked(status).is_some_and(|status| status.get("ready").and_then(Value::as_bool) == Some(true))
    })?;
    // One after the other, each on a quiet machine; once one did not get there, the rest need not wait.
    let mut injected = Ok(());
    for number in 1..=APPLICATIONS {
        stage.application(number)?;
        if injected.is_ok() {
            let serving = || asked(status).is_some_and(|status| serving(&status) >= number);
            injected = stage.until("an injected sidecar serves", serving);
        }
    }
    let saves = injected.clone().and_then(|()| saves::measure(&stage.folder(), status, APPLICATIONS));
    let gap = injected.and_then(|()| gap(&asked(status).ok_or("the controller stopped answering")?));
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &controller])?;
    let pid = pid.parse().map_err(|_| format!("no pid: {pid}"))?;
    Ok(Live { gap, saves, controller: Memory::of(pid).resident as f64 / 1024.0 })
}

/// Median and longest gap of a status.
fn gap(status: &Value) -> Outcome<(f64, f64)> {
    let field = |name: &str| {
        let found = status.get("injection_gap").and_then(|gap| gap.get(name)?.as_f64());
        found.ok_or_else(|| format!("the controller's status has no injection_gap.{name}"))
    };
    Ok((field("median_ms")?, field("max_ms")?))
}

fn asked(status: SocketAddr) -> Option<Value> {
    let (_, body) = ask::get(status, "/status").filter(|(code, _)| *code == 200)?;
    serde_json::from_str(&body).ok()
}

/// How many sidecars say that they are ready.
fn serving(status: &Value) -> usize {
    let sidecars = status.get("sidecars").and_then(Value::as_array);
    let ready = |sidecar: &&Value| sidecar.get("ready").and_then(Value::as_bool) == Some(true);
    sidecars.map_or(0, |sidecars| sidecars.iter().filter(ready).count())
}

/// Everything made on the engine; all of it carries the name, and goes when this is dropped.
struct Stage {
    name: String,
}

impl Stage {
    /// An image of this very program (it is static), which listens and does nothing.
    fn application_image(&self) -> Outcome<()> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let (folder, file) = program.parent().zip(program.file_name()).ok_or("this program has no path")?;
        let tar =
            Command::new("tar").arg("-C").arg(folder).arg("-cf-").arg(file).stdout(Stdio::piped()).spawn();
        let mut tar = tar.map_err(|error| format!("tar: {error}"))?;
        let entry = format!("ENTRYPOINT [\"/{}\",\"bench\",\"hold\"]", file.to_string_lossy());
        let mut import = tools::command("docker");
        import.args(["import", "--change", &entry, "--change", "EXPOSE 8080", "-", &self.image()]);
        let output = import.stdin(tar.stdout.take().ok_or("tar has no output")?).output();
        let ended = tar.wait().map_err(|error| error.to_string())?;
        success("docker import", &output.map_err(|error| error.to_string())?)?;
        if ended.success() { Ok(()) } else { Err("tar failed".into()) }
    }

    /// `sidecar` or `controller`, as built for this run.
    fn own_image(&self, name: &str) -> String {
        format!("outrigger-{name}:{}", self.name)
    }

    /// What the controller has at `/etc/outrigger`.
    fn folder(&self) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("outrigger-mesh-file-{}", self.name))
    }

    fn image(&self) -> String {
        format!("{}-application:latest", self.name)
    }

    /// Starts the controller, as the README's ten lines do; gives its container's id.
    fn controller(&self) -> Outcome<String> {
        let (project, service) =
            (self.label("com.docker.compose.project"), "com.docker.compose.service=outrigger");
        let volumes = [
            format!("{}-control:/run/outrigger", self.name),
            format!("{}-state:/var/lib/outrigger", self.name),
        ];
        let folder = format!("{}:/etc/outrigger:ro", self.folder().display());
        let mesh = format!("OUTRIGGER_MESH={}", self.name);
        let sidecar = format!("OUTRIGGER_SIDECAR_IMAGE={}", self.own_image("sidecar"));
        let [control, state] = &volumes;
        docker(&[
            "run",
            "--detach",
            "--name",
            &format!("{}-controller", self.name),
            "--pid",
            "host",
            "--network",
            &self.name,
            "--label",
            &project,
            "--label",
            service,
            "--label",
            &self.label("outrigger-bench"),
            "--volume",
            "/var/run/docker.sock:/var/run/docker.sock",
            "--volume",
            control,
            "--volume",
            state,
            "--volume",
            &folder,
            "--env",
            &mesh,
            "--env",
            &sidecar,
            "--env",
            "OUTRIGGER_SCOPE=project",
            &self.own_image("controller"),
        ])
    }

    /// Starts one labelled container.
    fn application(&self, number: usize) -> Outcome<String> {
        let (project, bench) = (self.label("com.docker.compose.project"), self.label("outrigger-bench"));
        docker(&[
            "run",
            "--detach",
            "--name",
            &format!("{}-app-{number}", self.name),
            "--network",
            &self.name,
            "--label",
            &project,
            "--label",
            "com.docker.compose.service=app",
            "--label",
            "outrigger.enable=true",
            "--label",
            &bench,
            &self.image(),
        ])
    }

    fn label(&self, key: &str) -> String {
        format!("{key}={}", self.name)
    }

    /// The controller's own address: reachable from the engine's host, no port published.
    fn address(&self) -> Outcome<SocketAddr> {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let text = docker(&["inspect", "--format", format, &format!("{}-controller", self.name)])?;
        let address: Ipv4Addr =
            text.parse().map_err(|_| format!("the controller has no address: {text:?}"))?;
        Ok((address, STATUS_PORT).into())
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) -> Outcome<()> {
        let begun = Instant::now();
        while !done() {
            if begun.elapsed() > PATIENCE {
                let logs =
                    docker_command(&["logs", "--tail", "20", &format!("{}-controller", self.name)]).output();
                let logs = logs.map(|o| {
                    String::from_utf8_lossy(&o.stderr).into_owned() + &String::from_utf8_lossy(&o.stdout)
                });
                eprintln!("{}", logs.unwrap_or_default());
                return Err(format!("gave up after {} s: {what}", PATIENCE.as_secs()));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ids of the containers that carry a label.
    fn containers(&self, label: &str) -> Vec<String> {
        let filter = format!("label={}", self.label(label));
        let ids = docker(&["ps", "--all", "--quiet", "--filter", &filter]).unwrap_or_default();
        ids.lines().map(str::to_owned).collect()
    }

    fn remove(&self, label: &str) {
        for id in self.containers(label) {
            report_failure(docker(&["rm", "--force", "--volumes", &id]));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Applications first: their sidecars end by themselves, with the controller's help or without.
        self.remove("com.docker.compose.project");
        let begun = Instant::now();
        while !self.containers("outrigger.mesh").is_empty() && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(100));
        }
        self.remove("outrigger.mesh");
        report_failure(docker(&["network", "rm", &self.name]));
        // It is not there if nothing was started.
        let _gone = std::fs::remove_dir_all(self.folder());
        for volume in ["control", "state"] {
            report_failure(docker(&["volume", "rm", "--force", &format!("{}-{volume}", self.name)]));
        }
        for image in [self.image(), self.own_image("sidecar"), self.own_image("controller")] {
            report_failure(docker(&["rmi", "--force", &image]));
        }
    }
}

fn report_failure(outcome: Outcome<String>) {
    if let Err(error) = outcome {
        eprintln!("{error}");
    }
}

/// What an application of the benchmark does: it listens on 8080, for ever.
///
/// # Errors
/// It cannot listen.
pub fn hold() -> Outcome<()> {
    let listener = TcpListener::bind("0.0.0.0:8080").map_err(|error| error.to_string())?;
    for accepted in listener.incoming() {
        drop(accepted);
    }
    Ok(())
}

fn image_size(image: &str) -> Outcome<f64> {
    let size = docker(&["image", "inspect", "--format", "{{.Size}}", image])?;
    size.parse().map_err(|_| format!("{image}: no size"))
}

fn docker_command(arguments: &[&str]) -> Command {
    let mut command = tools::command("docker");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the docker client; gives what it printed, without the end of the last line.
fn docker(arguments: &[&str]) -> Outcome<String> {
    let output = docker_command(arguments).output().map_err(|_| "no docker client here".to_owned())?;
    success(&format!("docker {}", arguments.join(" ")), &output)
}

fn success(what: &str, output: &Output) -> Outcome<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{what}: {}", text(&output.stderr)))
    }
}
