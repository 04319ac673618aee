//! The meshed project brought up by each compose, on a real engine: the first call of an application goes through, every
//! neighbour comes, and `down` leaves nothing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::place::{Ended, Place};

/// `caller` ends well only if its very first call, over bash's own TCP, is answered by a replica of `server`.
const PROJECT: &str = r#"
services:
  server:
    image: APPS
    deploy: { replicas: 2 }
    expose: [ 8080 ]
    stop_grace_period: 1s
  debug:
    image: APPS
    command: [ sleep, infinity ]
    network_mode: service:server
    init: true
  caller:
    image: APPS
    depends_on: [ server ]
    command:
      - bash
      - -c
      - >-
        exec 3<>/dev/tcp/server/8080 &&
        printf 'POST /count/1 HTTP/1.1\r\nhost: server\r\ncontent-length: 0\r\nconnection: close\r\n\r\n' >&3 &&
        head -n 1 <&3 | grep ' 200 '
"#;
const MESH: &str = include_str!("../../../compose/outrigger.yaml");
/// Files, written as the command line gives them.
const FILES: [&str; 2] = ["compose.yaml", "outrigger.yaml"];

/// A project that is up; dropping it takes it down.
struct Up<'a> {
    place: &'a Place,
    compose: &'a Path,
    files: Vec<&'a str>,
    name: String,
}

impl Up<'_> {
    fn run(&self, words: &[&str]) -> Ended {
        let files = self.files.iter().flat_map(|file| ["--file", file]);
        let words: Vec<&str> =
            ["-p", &self.name].into_iter().chain(files).chain(words.iter().copied()).collect();
        self.place.run(self.compose, &words)
    }

    /// Ids of what the engine has of this project.
    fn all(&self, kind: &[&str]) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        docker(&[kind, &["ls", "-q", "--filter", &filter]].concat())
    }

    fn container(&self, service: &str) -> String {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        docker(&["ps", "-aq", "--filter", &project, "--filter", &service]).trim().to_owned()
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let _best_effort = self.run(&["down", "-v", "--remove-orphans"]);
    }
}

fn docker(words: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new("docker").args(words).output().unwrap();
    assert!(status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn told(name: &str) -> String {
    env::var(name).unwrap_or_else(|_unset| panic!("cargo xtask test docker sets {name}"))
}

fn holds(compose: &Path, number: usize, overlay: bool) {
    let project = PROJECT.replace("APPS", &told("OUTRIGGER_TEST_APPS"));
    // 1.29 and a tag of the test's: a variable with the value it is to have.
    let mesh = MESH.replace(
        concat!("${OUTRIGGER_VERSION:-", env!("CARGO_PKG_VERSION"), "}"),
        &told("OUTRIGGER_TEST_TAG"),
    );
    let place = Place::new(&[("compose.yaml", &project), ("outrigger.yaml", &mesh)]);
    let words = ["--compose", compose.to_str().unwrap(), "--output", "meshed.yaml"];
    let overlaid = if overlay { &["--overlay"][..] } else { &[] };
    let ended = place.inject(&[&FILES[..], &words, overlaid].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let files = if overlay { [&FILES[..], &["meshed.yaml"]].concat() } else { vec!["meshed.yaml"] };
    let up = Up { place: &place, compose, files, name: format!("inject-{}-{number}", std::process::id()) };
    let ended = up.run(&["up", "-d"]);
    assert_eq!(ended.code, Some(0), "{}: {}", compose.display(), ended.err);
    let caller = up.container("caller");
    assert_eq!(
        docker(&["wait", &caller]).trim(),
        "0",
        "{}: {}",
        compose.display(),
        docker(&["logs", &caller])
    );
    for step in ["server-capture", "server-2-capture", "caller-capture"] {
        let state = docker(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &up.container(step)]);
        assert_eq!(state.trim(), "exited 0", "{step}");
    }
    let holder = format!("container:{}", up.container("server-holder"));
    let mode = docker(&["inspect", "-f", "{{.HostConfig.NetworkMode}}", &up.container("debug")]);
    assert!(holder.contains(mode.trim().get(..20).unwrap()), "{mode} is not {holder}");
    let volumes: Vec<String> = docker(&[
        "ps",
        "-aq",
        "--no-trunc",
        "--filter",
        &format!("label=com.docker.compose.project={}", up.name),
    ])
    .lines()
    .map(|id| docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}} {{end}}", id]))
    .flat_map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    .collect();
    assert!(volumes.iter().all(|name| name.starts_with(&up.name)), "only what is named stays: {volumes:?}");
    let ended = up.run(&["down", "-v"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for kind in [&["container"][..], &["network"], &["volume"]] {
        assert_eq!(up.all(kind), "", "{kind:?} left by down");
    }
}

#[test]
#[ignore = "needs Docker: cargo xtask test docker"]
fn compose_v2_brings_it_up_and_down() {
    holds(&PathBuf::from(told("OUTRIGGER_TEST_COMPOSE_V2")), 2, false);
}

#[test]
#[ignore = "needs Docker: cargo xtask test docker"]
fn compose_v5_brings_the_overlay_up_and_down() {
    holds(&PathBuf::from(told("OUTRIGGER_TEST_COMPOSE_V5")), 5, true);
}

#[test]
#[ignore = "needs Docker: cargo xtask test docker"]
fn docker_compose_1_29_brings_it_up_and_down() {
    let compose = told("OUTRIGGER_TEST_COMPOSE_V1");
    if compose.is_empty() {
        eprintln!("no docker-compose 1.29 on this machine: nothing was tested with it");
        return;
    }
    holds(&PathBuf::from(compose), 1, false);
}
