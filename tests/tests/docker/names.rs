//! Capture without a rule and without a capability: by name, and by local port.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::project::{Project, Setup, docker, image, tried};

/// Asks a URL and prints the header `x-name` of who answered.
const ASK: &str =
    "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).headers['x-name'])";
/// Prints the IPv4 address of a name.
const RESOLVE: &str = "import socket, sys; print(socket.gethostbyname(sys.argv[1]))";

/// Who answered; none if nobody did.
fn ask(project: &Project, service: &str, url: &str) -> Option<String> {
    let (answered, name) = project.try_exec(service, &["python3", "-c", ASK, url]);
    answered.then(|| name.trim().to_owned())
}

fn resolve(project: &Project, service: &str, name: &str) -> Option<String> {
    let (resolved, address) = project.try_exec(service, &["python3", "-c", RESOLVE, name]);
    resolved.then(|| address.trim().to_owned())
}

fn until_answered_by(project: &Project, service: &str, url: &str, name: &str) {
    project.until(&format!("{service}: {url} answers"), || {
        let answered = ask(project, service, url)?;
        assert_eq!(answered, name, "{service}: {url}");
        Some(())
    });
}

fn sidecar(project: &Project, service: &str) -> Value {
    let status = project.status().expect("the controller answers");
    let service = format!("{service}.{}", project.name);
    let mut all = status["sidecars"].as_array().expect("a list").iter();
    all.find(|sidecar| sidecar["service"] == *service).expect("a sidecar").clone()
}

fn problems(project: &Project, kind: &str) -> Vec<String> {
    let status = project.status().expect("the controller answers");
    let all = status["problems"].as_array().expect("a list").iter();
    let of_kind = all.filter(|problem| problem["kind"] == kind);
    of_kind.map(|problem| format!("{}: {}", problem["subject"], problem["what"])).collect()
}

/// The fields of `/proc/<pid>/status` that say what the first process of a container may do.
fn rights(container: &str) -> Vec<String> {
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", container]);
    let status =
        fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("a process of this machine");
    let wanted = ["Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "NoNewPrivs:"];
    let line = |key: &&str| status.lines().find_map(|line| line.strip_prefix(*key)).unwrap_or("?");
    wanted.iter().map(|key| line(key).split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

const SERVICES: &str = "
services:
  callee: { image: APPS, environment: { NAME: callee } }
  late: { image: APPS, environment: { NAME: late } }
  # The image exposes 8080, and nothing listens there.
  caller:
    image: APPS
    command: [ sleep, infinity ]
    init: true
    labels: { outrigger.capture: names, outrigger.app-address: 127.0.0.1 }
";

#[test]
#[ignore = "needs Docker"]
fn names_appear_and_vanish_in_a_running_container_and_lead_through_the_mesh() {
    let project = Setup::new("names", SERVICES).write();
    project.compose(&["up", "-d", "outrigger", "callee", "caller"]);
    project.until_meshed(&["caller", "callee"]);
    until_answered_by(&project, "caller", "http://callee:8080/healthz", "callee");
    let address = resolve(&project, "caller", "callee").unwrap();
    assert!(address.starts_with("127.64."), "{address}");
    let edge = project.edge("caller", "callee");
    assert_eq!((&edge["protocol"], &edge["mtls"]), (&"http".into(), &true.into()), "{edge}");

    let own = sidecar(&project, "caller");
    assert_eq!((&own["capture"], &own["bypassable"]), (&"names".into(), &false.into()), "{own}");
    let id = "61337 61337 61337 61337";
    let none = "0000000000000000";
    let rights = rights(own["container"].as_str().unwrap());
    assert_eq!(rights, [id, id, "", none, none, none, none, "1"]);
    assert_eq!(problems(&project, "capture"), [""; 0]);

    assert_eq!(resolve(&project, "caller", "late"), None);
    project.compose(&["up", "-d", "--no-recreate", "late"]);
    until_answered_by(&project, "caller", "http://late:8080/healthz", "late");
    project.until("the new name leads to its virtual address", || {
        resolve(&project, "caller", "late").filter(|address| address.starts_with("127.64."))
    });
    project.compose(&["stop", "-t", "1", "late"]);
    let stopped = resolve(&project, "caller", "late").expect("a service that is stopped keeps its name");
    assert!(stopped.starts_with("127.64."), "{stopped}");
    project.compose(&["rm", "-f", "late"]);
    project.until("the name is gone", || resolve(&project, "caller", "late").is_none().then_some(()));

    let container = project.container("caller");
    docker(&["restart", "-t", "1", &container]);
    project.until_meshed(&["caller"]);
    until_answered_by(&project, "caller", "http://callee:8080/healthz", "callee");
    let hosts = project.exec("caller", &["cat", "/etc/hosts"]);
    assert!(hosts.contains("localhost") && hosts.contains(" callee # outrigger\n"), "{hosts}");
}

const SAME_PORT: &str = "
services:
  callee: { image: APPS, environment: { NAME: callee } }
  loopback:
    image: BASE
    command: [ python3, -m, http.server, '8080', --bind, 127.0.0.1 ]
    labels: { outrigger.capture: names }
  exposed:
    image: APPS
    environment: { NAME: exposed }
    labels: { outrigger.capture: names }
  unsaid:
    image: BASE
    command: [ python3, -m, http.server, '8080' ]
    labels: { outrigger.capture: names }
";

#[test]
#[ignore = "needs Docker"]
fn the_same_port_at_caller_and_callee_never_hinders_the_application() {
    let project = Setup::new("names-port", SAME_PORT).up();
    project.until_meshed(&["callee", "loopback", "exposed", "unsaid"]);
    project.until("the names of a caller on 127.0.0.1", || {
        resolve(&project, "loopback", "callee").filter(|address| address.starts_with("127.64."))
    });
    until_answered_by(&project, "loopback", "http://callee:8080/healthz", "callee");
    assert_eq!(project.edge("loopback", "callee")["mtls"], true);
    let own = project.exec("loopback", &["curl", "-sS", "http://127.0.0.1:8080/"]);
    assert!(own.contains("Directory listing"), "{own}");

    // Both are called directly: through 127.64.0.0/10 they would reach themselves.
    for service in ["exposed", "unsaid"] {
        until_answered_by(&project, service, "http://callee:8080/healthz", "callee");
        let container = project.container(service);
        let restarts = docker(&["inspect", "-f", "{{.RestartCount}} {{.State.Running}}", &container]);
        assert_eq!(restarts.trim(), "0 true");
        project.until(&format!("why {service} does without"), || {
            let problems = problems(&project, "capture");
            problems.iter().any(|p| p.contains(&container) && p.contains("cannot call callee")).then_some(())
        });
    }
    assert_eq!(ask(&project, "exposed", "http://127.0.0.1:8080/healthz").as_deref(), Some("exposed"));
    let own = project.exec("unsaid", &["curl", "-sS", "http://127.0.0.1:8080/"]);
    assert!(own.contains("Directory listing"), "{own}");
    assert_eq!(sidecar(&project, "exposed")["bypassable"], true);
    assert_eq!(sidecar(&project, "loopback")["bypassable"], false);
}

const EXPLICIT: &str = "
services:
  callee: { image: APPS, environment: { NAME: callee } }
  caller:
    image: APPS
    environment: { NAME: caller }
    labels: { outrigger.capture: explicit, outrigger.upstreams: 'callee:8080=9001, cale:8080=9002' }
";

#[test]
#[ignore = "needs Docker"]
fn an_explicit_upstream_is_a_local_port() {
    let project = Setup::new("explicit", EXPLICIT).up();
    project.until_meshed(&["callee", "caller"]);
    until_answered_by(&project, "caller", "http://127.0.0.1:9001/healthz", "callee");
    assert_eq!(project.edge("caller", "callee")["mtls"], true);
    assert_eq!(ask(&project, "caller", "http://127.0.0.1:9002/healthz"), None);
    let problems = problems(&project, "capture");
    assert!(problems.iter().any(|problem| problem.contains("did you mean callee?")), "{problems:?}");
    // Its own port is its own, and it is an endpoint like any other.
    assert_eq!(ask(&project, "caller", "http://127.0.0.1:8080/healthz").as_deref(), Some("caller"));
    until_answered_by(&project, "callee", "http://caller:8080/healthz", "caller");
    assert_eq!(project.edge("callee", "caller")["mtls"], true);
    let address = resolve(&project, "caller", "callee").unwrap();
    assert!(!address.starts_with("127.64."), "{address}: only its upstreams are meshed");
}

#[test]
#[ignore = "needs Docker"]
fn a_database_is_called_by_name() {
    let postgres = std::env::var("OUTRIGGER_TEST_POSTGRES").unwrap_or_else(|_| "postgres:16-alpine".into());
    let services = format!(
        "services:
  database:
    image: '{postgres}'
    environment: {{ POSTGRES_USER: shop, POSTGRES_DB: shop, POSTGRES_PASSWORD: horse }}
    healthcheck: {{ test: [ CMD, pg_isready, -U, shop, -h, localhost ], interval: 1s, retries: 30 }}
    labels: {{ outrigger.capture: names }}
  client:
    image: '{postgres}'
    entrypoint: [ sleep, infinity ]
    init: true
    labels: {{ outrigger.capture: names, outrigger.app-address: 127.0.0.1 }}
"
    );
    let project = Setup::new("names-postgres", &services).up();
    project.until_meshed(&["database", "client"]);
    let query = |password: &str| {
        let database = format!("host=database user=shop dbname=shop connect_timeout=10 password={password}");
        project.try_exec("client", &["psql", &database, "-Atc", "select inet_client_addr(), 6 * 7"])
    };
    let rows = project.until("the database answers", || {
        let (answered, rows) = query("horse");
        answered.then_some(rows)
    });
    assert!(rows.trim().ends_with("|42"), "{rows}");
    let edge = project.edge("client", "database");
    assert_eq!((&edge["protocol"], &edge["mtls"]), (&"tcp".into(), &true.into()), "{edge}");
    let (answered, text) = query("wrong");
    assert!(!answered && text.contains("password authentication failed"), "{text}");
}

/// Calls by name again and again, until it is told; prints how often, and what failed.
const KEEP_ASKING: &str = "
import os, socket, time, urllib.request as r
calls, failed = 0, []
while not os.path.exists('/tmp/enough'):
    calls += 1
    try:
        address = socket.gethostbyname('callee')
        assert address.startswith('127.64.'), address
        assert r.urlopen('http://callee:8080/healthz', timeout=5).headers['x-name'] == 'callee'
    except Exception as error:
        failed.append(repr(error))
    time.sleep(0.02)
print(calls, failed)
";

/// Another image with the same sidecar, gone when dropped.
struct Next(String);

impl Next {
    fn build() -> Self {
        let next = Self(format!("outrigger-sidecar:names-next-{}", std::process::id()));
        let mut command = Command::new("docker");
        command.args(["build", "-q", "-t", &next.0, "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("docker is there");
        let dockerfile = format!("FROM {}\nLABEL next=yes\n", image("sidecar"));
        child.stdin.take().expect("piped").write_all(dockerfile.as_bytes()).expect("docker reads it");
        assert!(child.wait().expect("docker ends").success());
        next
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        let _removed = tried(&["rmi", "-f", &self.0]);
    }
}

#[test]
#[ignore = "needs Docker"]
fn names_stay_while_the_sidecar_is_replaced() {
    // Before the project, so that it goes after it.
    let next = Next::build();
    let project = Setup::new("names-upgrade", SERVICES).up();
    project.until_meshed(&["caller", "callee", "late"]);
    until_answered_by(&project, "caller", "http://callee:8080/healthz", "callee");
    let before = project.sidecars();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| project.exec("caller", &["python3", "-c", KEEP_ASKING]));
        let replaced = {
            let controller = project.container("outrigger");
            let words = ["exec", &controller, "/outrigger", "upgrade", "caller", "--image", &next.0];
            let output = tried(&words);
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            (output.status.success(), text)
        };
        project.exec("caller", &["touch", "/tmp/enough"]);
        let asked = asking.join().unwrap();
        assert!(replaced.0, "{}", replaced.1);
        assert!(asked.trim().ends_with("[]") && !asked.starts_with("0 "), "{asked}");
    });
    let after = project.sidecars();
    let ids = |all: &[(String, String)]| all.iter().map(|(_, id)| id.clone()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&before).difference(&ids(&after)).count(), 1, "one was replaced: {before:?} {after:?}");
    let hosts = project.exec("caller", &["cat", "/etc/hosts"]);
    assert!(hosts.contains("\n127.64.") && hosts.contains(" callee # outrigger\n"), "{hosts}");
}

const WRITTEN: &str = "
services:
  callee: { image: APPS, environment: { NAME: callee } }
  caller:
    image: APPS
    command: [ sleep, infinity ]
    init: true
    labels: { outrigger.capture: names, outrigger.app-address: 127.0.0.1 }
  other:
    image: APPS
    labels: { outrigger.capture: explicit, outrigger.upstreams: 'callee:8080=9001' }
";

#[test]
#[ignore = "needs Docker"]
fn names_and_local_ports_written_into_the_project_outlive_a_restart_of_the_application() {
    let project = Setup::new("names-written", WRITTEN).inject();
    project.compose(&["up", "-d"]);
    project.meshed(3);
    until_answered_by(&project, "caller", "http://callee:8080/healthz", "callee");
    docker(&["restart", "-t", "1", &project.container("caller")]);
    assert_eq!(ask(&project, "caller", "http://callee:8080/healthz").as_deref(), Some("callee"), "at once");
    let address = resolve(&project, "caller", "callee").unwrap();
    assert!(address.starts_with("127.64."), "{address}");
    assert_eq!(project.edge("caller", "callee")["mtls"], true);

    let place = project.exec("other", &["printenv", "OUTRIGGER_UPSTREAM_CALLEE_8080"]);
    let url = format!("http://{}/healthz", place.trim());
    until_answered_by(&project, "other", &url, "callee");
    assert_eq!(project.edge("other", "callee")["mtls"], true);
}

const PLAIN: &str = "
services:
  callee: { image: APPS, environment: { NAME: callee } }
  caller:
    image: APPS
    command: [ sleep, infinity ]
    init: true
    labels: { outrigger.app-address: 127.0.0.1 }
";

#[test]
#[ignore = "needs Docker"]
fn a_mesh_file_that_says_transparent_has_the_rules_set_in_a_running_workload() {
    let says = |capture: &str| format!("services: {{ caller: {{ capture: {capture} }} }}\n");
    let mounted = ("/etc/outrigger".to_owned(), vec![("mesh.yaml".to_owned(), says("names"))]);
    let project = Setup { mounted: Some(mounted), ..Setup::new("names-file", PLAIN) }.up();
    project.until_meshed(&["caller", "callee"]);
    until_answered_by(&project, "caller", "http://callee:8080/healthz", "callee");
    assert_eq!(sidecar(&project, "caller")["capture"], "names");
    let calls = || project.edge("caller", "callee")["requests"].as_u64().unwrap();
    let (before, address) = (calls(), project.address("callee", "default"));
    project.write("mounted/mesh.yaml", &says("transparent"));
    project.until("calls by address are caught", || {
        ask(&project, "caller", &format!("http://{address}:8080/healthz"))?;
        (calls() > before + 5).then_some(())
    });
    assert_eq!(sidecar(&project, "caller")["capture"], "transparent");
    let hosts = project.exec("caller", &["cat", "/etc/hosts"]);
    assert!(hosts.contains("\n#27.64."), "nothing is kept there any more: {hosts}");
}
