//! Every sidecar of caller and callees is replaced under load, and nobody notices.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::project::{COUNTER, Posting, Project, Setup, docker, image, tried};

/// The sidecar's image under another id, gone when dropped.
struct Next(String);

impl Next {
    fn make() -> Self {
        let name = format!("{}-next-{}", image("sidecar"), std::process::id());
        let mut build = Command::new("docker");
        build.args(["build", "-q", "-t", &name, "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = build.spawn().unwrap();
        let lines = format!("FROM {}\nLABEL outrigger-test-next={}\n", image("sidecar"), std::process::id());
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        Self(name)
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        let _removed = tried(&["rmi", "-f", &self.0]);
    }
}

/// `outrigger upgrade` in the controller's container.
fn upgrade(project: &Project, words: &[&str]) -> Output {
    let controller = project.container("outrigger");
    tried(&[&["exec", &controller, "/outrigger", "upgrade"], words].concat())
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].concat().iter().map(|byte| char::from(*byte)).collect()
}

/// Name and image of every sidecar container, in the order of their names.
fn images(project: &Project) -> Vec<(String, String)> {
    let image = |(name, id): (String, String)| {
        (name, docker(&["inspect", "-f", "{{.Config.Image}}", &id]).trim().to_owned())
    };
    project.sidecars().into_iter().map(image).collect()
}

#[test]
#[ignore = "needs Docker"]
fn nothing_is_lost_while_every_sidecar_is_replaced() {
    let next = Next::make();
    let project = Setup::new("upgrade", COUNTER).up();
    project.meshed(2);
    project.compose(&["up", "-d", "--no-recreate", "--scale", "counter=3"]);
    project.endpoints("counter", 8080, 3);
    project.meshed(4);
    let (names, before): (Vec<_>, Vec<_>) = images(&project).into_iter().unzip();

    let nothing = upgrade(&project, &[]);
    assert!(nothing.status.success() && text(&nothing).contains("nothing to do"), "{}", text(&nothing));
    let planned = upgrade(&project, &["--image", &next.0, "--dry-run"]);
    assert!(
        planned.status.success() && text(&planned).contains("4 sidecars to replace"),
        "{}",
        text(&planned)
    );
    assert_eq!(images(&project).into_iter().map(|(_, image)| image).collect::<Vec<_>>(), before);

    let posting = Posting::start(&project);
    for image in [&next.0, &before[0], &next.0] {
        let done = upgrade(&project, &["--image", image]);
        assert!(done.status.success() && text(&done).contains("4 replaced"), "{}", text(&done));
        println!("{}", text(&done));
        project.until("the new ones have the names of the old", || {
            (images(&project) == names.iter().map(|name| (name.clone(), image.clone())).collect::<Vec<_>>())
                .then_some(())
        });
        project.meshed(4);
        posting.more(1);
    }
    let answered = posting.finish();
    assert_eq!(answered.len(), 3, "every replica answered some: {answered:?}");
}

#[test]
#[ignore = "needs Docker"]
fn one_that_does_not_become_ready_is_taken_away_and_the_old_one_serves_on() {
    let project = Setup::new("upgrade-fails", COUNTER).up();
    project.meshed(2);
    project.endpoints("counter", 8080, 1);
    let before = images(&project);
    let posting = Posting::start(&project);

    let missing = upgrade(&project, &["--image", "outrigger-nowhere:1"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing).contains("is not on this engine"), "{}", text(&missing));
    let unknown = upgrade(&project, &["nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("nobody"), "{}", text(&unknown));
    // An image that starts and is no sidecar.
    let wrong = upgrade(&project, &["counter", "--image", &image("controller"), "--json"]);
    assert_eq!(wrong.status.code(), Some(1));
    let lines = String::from_utf8(wrong.stdout.clone()).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["planned", "started", "failed", "finished"], "{events:?}");
    assert_eq!(events[3]["failed"], 1);

    assert_eq!(images(&project), before);
    project.meshed(2);
    posting.more(1);
    posting.finish();
}

/// Accepts at 9999 and answers each byte with itself, one connection after the other.
const ECHO: &str = "import socket
s = socket.create_server(('0.0.0.0', 9999))
while True:
    c = s.accept()[0]
    while b := c.recv(1): c.sendall(b)";
/// Opens a byte stream, says so in a file, and says so again when it ends.
const STREAM: &str = "import socket
s = socket.create_connection(('counter', 9999))
s.sendall(b'\\0'); s.recv(1)
open('/tmp/open', 'w').close()
try: s.recv(1)
finally: open('/tmp/ended', 'w').close()";

#[test]
#[ignore = "needs Docker"]
fn a_controller_that_ends_in_the_middle_is_followed_by_one_that_ends_the_upgrade() {
    let next = Next::make();
    let project = Setup::new("upgrade-middle", COUNTER).up();
    project.meshed(2);
    docker(&["exec", "-d", &project.container("counter"), "python3", "-c", ECHO]);
    project.endpoints("counter", 9999, 1);
    project.endpoints("counter", 8080, 1);
    let names: Vec<_> = images(&project).into_iter().map(|(name, _)| name).collect();
    let caller = project.container("caller");
    docker(&["exec", "-d", &caller, "python3", "-c", STREAM]);
    let there = |file: &str| project.try_exec("caller", &["test", "-e", file]).0.then_some(());
    project.until("a byte stream", || there("/tmp/open"));
    let posting = Posting::start(&project);

    // The stream keeps the caller's old sidecar, so that there are two.
    let controller = project.container("outrigger");
    docker(&[
        "exec",
        "-d",
        &controller,
        "/outrigger",
        "upgrade",
        "caller",
        "--image",
        &next.0,
        "--deadline",
        "20s",
    ]);
    let upgrading =
        |status: &Value| status["sidecars"].as_array().unwrap().iter().any(|one| one["upgrading"] == true);
    project.until("two sidecars", || project.status().filter(upgrading));
    project.until("the new one serves", || {
        let id = docker(&["ps", "-q", "--filter", &format!("name={caller}-outrigger-next")]);
        tried(&["exec", id.trim(), "/outrigger-sidecar", "health"]).status.success().then_some(())
    });
    assert!(there("/tmp/ended").is_none(), "the old one carries the stream");
    docker(&["kill", &controller]);
    docker(&["start", &controller]);

    project.until("one sidecar each, under its name", || {
        (images(&project).into_iter().map(|(name, _)| name).collect::<Vec<_>>() == names).then_some(())
    });
    project.meshed(2);
    there("/tmp/ended").expect("the deadline has passed");
    let images = images(&project);
    assert_eq!(images.iter().filter(|(_, image)| *image == next.0).count(), 1, "{images:?}");
    posting.more(1);
    posting.finish();
}
