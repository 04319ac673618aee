//! A replica that fails a share of its requests, though never several in a row, until it is mended.

use serde_json::Value;

use crate::project::{Project, Setup, docker, tried};

/// Answers with its name; while a file is there, every second request fails.
const APP: &str = "
import http.server, itertools, os
count = itertools.count()
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        name = os.environ['NAME'].encode()
        self.send_response(500 if os.path.exists('/tmp/sick') and next(count) % 2 else 200)
        self.send_header('content-length', str(len(name)))
        self.end_headers()
        self.wfile.write(name)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('', 8080), App).serve_forever()
";

/// A hundred and twenty calls: who answered each, and with `!` who failed.
const CALLS: &str = "
import http.client
connection = http.client.HTTPConnection('app', 8080, timeout=20)
for _ in range(120):
    connection.request('GET', '/')
    answer = connection.getresponse()
    print(answer.read().decode() + ('' if answer.status == 200 else '!'))
";

/// Who answers, each once, in order; with `!` who fails.
fn answers(project: &Project) -> Vec<String> {
    let said = project.exec("caller", &["python3", "-c", CALLS]);
    let mut names: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    assert_eq!(names.len(), 120, "{said}");
    names.sort();
    names.dedup();
    names
}

fn status(project: &Project) -> String {
    let output = tried(&["exec", &project.container("outrigger"), "/outrigger", "status"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `status --json` says of ejections.
fn ejections(project: &Project) -> Option<Vec<Value>> {
    project.status()?["ejections"].as_array().cloned()
}

#[test]
#[ignore = "needs Docker"]
fn one_that_fails_more_often_than_the_others_is_ejected_shown_and_back_once_it_is_mended() {
    let app = serde_json::json!(["python3", "-c", APP]);
    let replica = |name: &str| {
        let labels =
            format!("{{ outrigger.service: app, outrigger.version: {name}, outrigger.port: 8080/http }}");
        format!(
            "  {name}: {{ image: APPS, command: {app}, init: true, environment: {{ NAME: {name} }}, labels: {labels}, \
             networks: {{ default: {{ aliases: [ app ] }} }} }}\n"
        )
    };
    let services = format!(
        "services:\n  caller: {{ image: APPS, command: [ sleep, infinity ], init: true }}\n{}{}{}",
        replica("one"),
        replica("other"),
        replica("third"),
    );
    // A machine that is busy makes few calls in a second.
    let rate = "{ below: 20%, requests: 10, interval: 2s }";
    let outlier = format!("{{ consecutive-errors: 5, eject: 15s, success-rate: {rate} }}");
    let file = format!("services: {{ app: {{ health: {{ outlier: {outlier} }} }} }}\n");
    let mounted = Some(("/etc/outrigger".to_owned(), vec![("mesh.yaml".to_owned(), file)]));
    let project = Setup { mounted, ..Setup::new("ejection", &services) }.up();
    project.meshed(4);
    project.endpoints("app", 8080, 3);
    let all = ["one", "other", "third"];
    project.until("all to answer", || (answers(&project) == all).then_some(()));
    assert_eq!(ejections(&project), Some(Vec::new()));

    let sick = project.container("other");
    docker(&["exec", &sick, "touch", "/tmp/sick"]);
    let ejection = project.until("the one that fails to be ejected", || {
        let answering = answers(&project);
        assert!(
            !answering.contains(&"one!".into()) && !answering.contains(&"third!".into()),
            "{answering:?}"
        );
        ejections(&project)?.pop()
    });
    let (by, endpoint) = (project.container("caller"), sick.clone());
    assert_eq!(
        (&ejection["by"], &ejection["endpoint"]),
        (&by.as_str().into(), &endpoint.as_str().into()),
        "{ejection}"
    );
    assert_eq!((&ejection["why"], &ejection["port"]), (&"success-rate".into(), &8080.into()), "{ejection}");
    let percent = ejection["percent"].as_u64().unwrap();
    assert!((30..=80).contains(&percent) && ejection["others_percent"] == 100, "{ejection}");

    // It is ejected again, for longer each time, as long as it fails.
    project.until("status to say so, and calls within one time", || {
        let (before, shown) = (ejections(&project)?.pop()?, status(&project));
        let (answering, after) = (answers(&project), ejections(&project)?.pop()?);
        if before["since_ms"] != after["since_ms"] {
            return None;
        }
        assert_eq!(answering, ["one", "third"]);
        let why = format!("ejected by {by} (");
        let said = shown.contains(&format!("endpoint {endpoint}:8080")) && shown.contains(&why);
        assert!(said && shown.contains("% of its requests succeeded, 100% of the others')"), "{shown}");
        Some(())
    });

    docker(&["exec", &sick, "rm", "/tmp/sick"]);
    project.until("all to answer again", || (answers(&project) == all).then_some(()));
    project.until("status to say nothing of it", || ejections(&project)?.is_empty().then_some(()));
    assert!(!status(&project).contains("ejected by"));
    assert_eq!(answers(&project), all);
}
