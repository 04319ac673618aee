//! A health check with an application that says whether it can serve.

use crate::project::{Project, Setup, docker, tried};

/// Answers with its name; `/healthz` is its mood, which a file spoils.
const APP: &str = "
import http.server, os
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sick = self.path == '/healthz' and os.path.exists('/tmp/sick')
        name = os.environ['NAME'].encode()
        self.send_response(503 if sick else 200)
        self.send_header('content-length', str(len(name)))
        self.end_headers()
        self.wfile.write(name)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('', 8080), App).serve_forever()
";

/// Ten calls; one that fails ends it with an error.
const TEN: &str = "
import urllib.request
print(*(urllib.request.urlopen('http://app:8080/', timeout=20).read().decode() for _ in range(10)))
";

/// Who answers ten calls, each once.
fn answering(project: &Project) -> Vec<String> {
    let answers = project.exec("caller", &["python3", "-c", TEN]);
    let mut names: Vec<String> = answers.split_whitespace().map(str::to_owned).collect();
    assert_eq!(names.len(), 10, "{answers}");
    names.sort();
    names.dedup();
    names
}

fn status(project: &Project) -> String {
    let output = tried(&["exec", &project.container("outrigger"), "/outrigger", "status"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs Docker"]
fn a_replica_that_says_it_cannot_serve_gets_no_calls_until_it_says_it_can_and_none_is_lost() {
    let app = serde_json::json!(["python3", "-c", APP]);
    let services = format!(
        "services:
  caller: {{ image: APPS, command: [ sleep, infinity ], init: true }}
  app: {{ image: APPS, command: {app}, init: true, environment: {{ NAME: one }}, labels: {{ outrigger.version: one }} }}
  other:
    image: APPS
    command: {app}
    init: true
    environment: {{ NAME: other }}
    labels: {{ outrigger.service: app, outrigger.version: other }}
    networks: {{ default: {{ aliases: [ app ] }} }}
"
    );
    let check =
        "services: { app: { health: { check: { http: /healthz, interval: 500ms, unhealthy: 2 } } } }\n";
    let mounted = Some(("/etc/outrigger".to_owned(), vec![("mesh.yaml".to_owned(), check.to_owned())]));
    let project = Setup { mounted, ..Setup::new("health", &services) }.up();
    project.meshed(3);
    project.endpoints("app", 8080, 2);
    project.until("both to answer", || (answering(&project) == ["one", "other"]).then_some(()));

    docker(&["exec", &project.container("other"), "touch", "/tmp/sick"]);
    project.until("the sick one to be avoided", || (answering(&project) == ["one"]).then_some(()));
    let told = "takes no traffic: its health check fails: GET /healthz answered 503";
    project.until("status to say why", || status(&project).contains(told).then_some(()));

    docker(&["exec", &project.container("other"), "rm", "/tmp/sick"]);
    project.until("both to answer again", || (answering(&project) == ["one", "other"]).then_some(()));
    assert!(!status(&project).contains(told));
}
