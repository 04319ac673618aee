//! Routes and policies with real clients: the mesh file is saved again and again while numbered POSTs are under way, none of
//! which is lost.

use serde_json::Value;

use crate::clients::{checks, nothing_in_clear};
use crate::project::{Posting, Project, Setup};

/// POSTs per second; the checks want their share of a small machine, too.
const RATE: u64 = 100;

/// `counter` in two versions, each with HTTP and gRPC; `worker` with a replica that only fails.
const SERVICES: &str = r#"
services:
  caller:
    image: APPS
    init: true
    command: [ sleep, infinity ]
    working_dir: /app/clients
    volumes: [ seen:/seen ]
  counter: &counter
    image: APPS
    init: true
    command: [ sh, -c, python3 clients/grpc_serve.py & exec node clients/serve.js ]
    environment: { NAME: v1, STORE: /seen/store }
    labels: { outrigger.version: v1 }
    volumes: [ seen:/seen ]
  counter-v2:
    <<: *counter
    environment: { NAME: v2, STORE: /seen/store }
    labels: { outrigger.service: counter, outrigger.version: v2 }
    networks: { default: { aliases: [ counter ] } }
  worker: &worker
    labels: { outrigger.version: good }
    image: APPS
    init: true
    command: [ node, clients/serve.js ]
  worker-bad:
    <<: *worker
    environment: { BAD: "1" }
    labels: { outrigger.service: worker, outrigger.version: bad }
    networks: { default: { aliases: [ worker ] } }
volumes: { seen: {} }
"#;

const ALL_TO_V1: &str = "
services:
  counter: { routes: [ { backends: [ { version: v1 } ] } ] }
";

const CANARY: &str = "
services:
  counter:
    routes:
      - name: canary
        matches:
          - { headers: { x-canary: '1' } }
          - { grpc: { service: clients.Echo, method: Gone } }
          - { grpc: { service: clients.Echo, method: Talk } }
        backends: [ { version: v2 } ]
      - backends: [ { version: v1 } ]
";

const WEIGHTS: &str = "
services:
  counter:
    routes:
      - matches: [ { path: { prefix: /sticky } } ]
        sticky: { header: x-user }
        backends: [ { version: v1, weight: 50 }, { version: v2, weight: 50 } ]
      - backends: [ { version: v1, weight: 75 }, { version: v2, weight: 25 } ]
";

const ALL_TO_V2: &str = "
services:
  counter:
    routes:
      - backends: [ { version: v1, weight: 0 }, { version: v2, weight: 100 } ]
";

const POLICIES: &str = "
services:
  counter:
    retries: { attempts: 2, on: [ 503, unavailable ], methods: [ GET, POST ] }
    routes:
      - matches: [ { path: { prefix: /shop } } ]
        backends: [ { version: v1 } ]
        rewrite: { path: { prefix: / } }
        request-headers: { set: { x-team: shop }, add: { x-seen: mesh }, remove: [ x-debug ] }
        response-headers: { remove: [ x-name ], set: { cache-control: no-store } }
      - matches: [ { path: { prefix: /old } } ]
        redirect: { path: { prefix: /new }, status: 301 }
      - matches: [ { path: { exact: /robots.txt } } ]
        respond: { body: 'Disallow: /' }
      - matches: [ { method: DELETE } ]
        respond: { status: 405 }
      - matches: [ { headers: { x-test: broken } } ]
        backends: [ { version: v1 } ]
        fault: { abort: 503 }
      - matches: [ { headers: { x-test: late } } ]
        backends: [ { version: v1 } ]
        fault: { delay: 600ms }
      - matches: [ { path: { prefix: /slow } }, { grpc: { service: clients.Echo, method: Unary } } ]
        backends: [ { version: v1 } ]
        timeout: 500ms
      - matches: [ { path: { prefix: /work } } ]
        backends: [ { version: v1 } ]
        mirror: { version: v2 }
      - backends: [ { version: v1 } ]
  worker: { health: { outlier: { consecutive-errors: 3, eject: 10m } } }
";

/// What the caller's sidecar runs by, once that is what it was sent.
fn in_force(project: &Project) -> Option<Value> {
    let status = project.status()?;
    let caller = format!("caller.{}", project.name);
    let sidecar =
        status["sidecars"].as_array()?.iter().find(|sidecar| sidecar["service"] == caller.as_str())?;
    let serves = sidecar["config_version"] == sidecar["sent_version"];
    serves.then(|| sidecar["config_version"].clone())
}

/// Saves the mesh file, waits until it is in force, and runs the checks of that part.
fn save(project: &Project, text: &str, part: &str, count: usize) {
    let before = project.until("the caller serves", || in_force(project));
    project.write("mounted/mesh.yaml", text);
    project.until(part, || in_force(project).filter(|version| *version != before));
    checks(project, &["python3", "with_routes.py", part], count);
}

/// What the application of a service itself says, asked over its own loopback.
fn says(project: &Project, service: &str, path: &str) -> u64 {
    let url = format!("http://127.0.0.1:8080{path}");
    project.exec(service, &["curl", "-sS", "--max-time", "10", &url]).parse().unwrap()
}

#[test]
#[ignore = "needs Docker"]
fn routes_and_policies_change_under_load_and_no_request_is_lost() {
    let mounted = Some(("/etc/outrigger".to_owned(), vec![("mesh.yaml".to_owned(), "{}\n".to_owned())]));
    let project = Setup { mounted, ..Setup::new("routes", SERVICES) }.up();
    project.meshed(5);
    for (service, port) in [("counter", 8080), ("counter", 50051), ("worker", 8080)] {
        project.endpoints(service, port, 2);
    }
    let posting = Posting::start_at(&project, RATE);
    save(&project, ALL_TO_V1, "all-to-v1", 1);
    save(&project, CANARY, "canary", 2);
    posting.more(1);
    save(&project, WEIGHTS, "weights", 2);
    posting.more(1);
    save(&project, ALL_TO_V2, "all-to-v2", 1);
    posting.more(1);
    let heard = says(&project, "counter-v2", "/heard");
    save(&project, POLICIES, "policies", 6);
    project.until("50 copies", || (says(&project, "counter-v2", "/heard") == heard + 50).then_some(()));
    assert_eq!(says(&project, "counter", "/heard"), 0, "who gives the answers gets no copies");
    checks(&project, &["python3", "with_routes.py", "ejection"], 2);
    save(&project, CANARY, "nobody-tries-again", 1);
    posting.more(1);
    let names = posting.finish();
    assert_eq!(names.keys().collect::<Vec<_>>(), ["v1", "v2"], "{names:?}");
    nothing_in_clear(&project, &["counter", "worker"]);
}
