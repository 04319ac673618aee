//! The mesh file, mounted as the README says, while everything runs.

use crate::project::{Project, Setup, docker, tried};

/// Answers after a second and a half.
const SLOW: &str = "
import http.server, time
class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(1.5)
        self.send_response(200)
        self.send_header('content-length', '3')
        self.end_headers()
        self.wfile.write(b'ok\\n')
http.server.ThreadingHTTPServer(('', 8080), Slow).serve_forever()
";

const ASK: &str = "
import urllib.request, urllib.error
try: print(urllib.request.urlopen('http://slow:8080/', timeout=20).status)
except urllib.error.HTTPError as error: print(error.code)
";

/// What `caller` gets from `slow`.
fn answer(project: &Project) -> String {
    project.exec("caller", &["python3", "-c", ASK]).trim().to_owned()
}

/// Saves the mesh file, and waits until a call is answered so.
fn save_until(project: &Project, text: &str, wanted: &str) {
    project.write("mounted/mesh.yaml", text);
    project.until(&format!("an answer {wanted} under {text}"), || (answer(project) == wanted).then_some(()));
}

/// What `outrigger status` shows a person, and its exit code.
fn status(project: &Project) -> (String, Option<i32>) {
    let output = tried(&["exec", &project.container("outrigger"), "/outrigger", "status"]);
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

#[test]
#[ignore = "needs Docker"]
fn a_save_changes_running_sidecars_and_a_bad_file_changes_nothing_and_says_why() {
    let slow = serde_json::json!(["python3", "-c", SLOW]);
    let services = format!(
        "services:
  caller: {{ image: APPS, command: [ sleep, infinity ], init: true }}
  slow: {{ image: APPS, command: {slow}, init: true }}
"
    );
    let file = ("mesh.yaml".to_owned(), "services: { slow: { timeout: 20s } }\n".to_owned());
    let mounted = Some(("/etc/outrigger".to_owned(), vec![file]));
    let project = Setup { mounted, ..Setup::new("file", &services) }.up();
    project.meshed(2);
    project.endpoints("slow", 8080, 1);
    let sidecars = project.sidecars();
    project.until("an answer", || (answer(&project) == "200").then_some(()));

    save_until(&project, "services: { slow: { timeout: 500ms } }\n", "504");
    assert_eq!(project.sidecars(), sidecars, "the same containers");

    project.write("mounted/mesh.yaml", "services:\n  slow:\n    timout: 20s\n");
    let (text, code) = project.until("status to tell of the fault", || {
        let (text, code) = status(&project);
        text.contains("mesh.yaml:3:5").then_some((text, code))
    });
    assert!(text.contains("timeout") && text.contains("the last good mesh file stays in force"), "{text}");
    assert_eq!(code, Some(1));
    assert_eq!(answer(&project), "504", "nothing has changed");
    // Nor does a controller that starts with it open anything.
    docker(&["restart", "--time", "5", &project.container("outrigger")]);
    project.meshed(2);
    assert_eq!(answer(&project), "504");

    save_until(&project, "services: { slow: { timeout: 20s } }\n", "200");
    project.until("status to be content with the file", || {
        (!status(&project).0.contains("mesh.yaml:")).then_some(())
    });
    assert_eq!(project.sidecars(), sidecars);
}
