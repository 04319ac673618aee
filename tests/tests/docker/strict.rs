//! Strict as outsiders see it: another container, the host, a browser.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::project::{Project, Setup, docker};

/// Answers with what the sidecar told of the client, over IPv4 and IPv6; its log has every path that was asked for.
const PAGE: &str = "
import http.server, socket
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        told = [str(self.headers.get(name)) for name in ('x-forwarded-for', 'x-forwarded-proto')]
        text = ('<html><body>client ' + ' over '.join(told) + '</body></html>').encode()
        self.send_response(200)
        self.send_header('content-type', 'text/html')
        self.send_header('content-length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(('::', 8080), Page).serve_forever()
";

/// `web` is meant for outsiders, `db` is not although it is published; `legacy` is not meshed.
fn services(labels: &str) -> String {
    let page = serde_json::json!(["python3", "-uc", PAGE]).to_string();
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let subnet = format!("fd00:5717:{:x}:{number:x}::/64", std::process::id() & 0xffff);
    format!(
        "services:
  web: {{ image: APPS, command: {page}, init: true, ports: [ '127.0.0.1::8080' ], labels: {{ x: y{labels} }} }}
  db: {{ image: APPS, command: {page}, init: true, ports: [ '127.0.0.1::8080' ], labels: {{ outrigger.edge: none{labels} }} }}
  inside: {{ image: APPS, command: [ sleep, infinity ], init: true }}
  legacy: {{ image: APPS, command: [ sleep, infinity ], init: true, labels: {{ outrigger.enable: 'false' }} }}
networks: {{ default: {{ enable_ipv6: true, ipam: {{ config: [ {{ subnet: '{subnet}' }} ] }} }} }}
"
    )
}

/// Whether a service got the page at this URL, and what it saw.
fn asked(project: &Project, service: &str, url: &str) -> (bool, String) {
    let ask = format!("import urllib.request as r; print(r.urlopen('{url}', timeout=5).read().decode())");
    project.try_exec(service, &["python3", "-c", &ask])
}

/// Where a service is reached: by name, by IPv4 and by IPv6 address.
fn ways_to(project: &Project, service: &str) -> [String; 3] {
    let v4 = project.address(service, "default");
    let format = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
    let v6 = docker(&["inspect", "-f", format, &project.container(service)]);
    [service.to_owned(), v4.to_string(), format!("[{}]", v6.trim())]
}

/// `127.0.0.1:<port>` on the host.
fn published(project: &Project, service: &str) -> String {
    docker(&["port", &project.container(service), "8080/tcp"]).lines().next().unwrap().to_owned()
}

fn curl(url: &str) -> (bool, String) {
    let output = Command::new("curl").args(["-sS", "-m", "10", url]).output().expect("curl is there");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// `OUTRIGGER_TEST_BROWSER`, or one that is installed.
fn browser() -> PathBuf {
    if let Some(named) = env::var_os("OUTRIGGER_TEST_BROWSER") {
        return named.into();
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| {
        env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
    });
    found.expect("a browser: install chromium, or name one in OUTRIGGER_TEST_BROWSER")
}

/// The page as a browser has it in its window.
fn browsed(browser: &Path, url: &str) -> String {
    let switches =
        ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom", url];
    let mut command = Command::new("timeout");
    let output = command.arg("60").arg(browser).args(switches).output().expect("a browser runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The outsider of `service` whose name contains `from`, as soon as `is` holds for it.
fn outsider(project: &Project, service: &str, from: &str, is: impl Fn(&Value) -> bool) -> Value {
    let named = format!("{service}.{}", project.name);
    project.until(&format!("{from} calls {service}, in status"), || {
        let status = project.status()?;
        let mut all = status["outsiders"].as_array()?.iter();
        let named =
            |o: &&Value| o["service"] == named && o["from"].as_str().is_some_and(|f| f.contains(from));
        all.find(|o| named(o) && is(o)).cloned()
    })
}

fn strict_check(project: &Project, service: &str) -> (bool, String) {
    project.try_exec("outrigger", &["/outrigger", "status", "--strict-check", service])
}

#[test]
#[ignore = "needs Docker"]
fn strict_refuses_outsiders_and_serves_the_edge_and_status_says_beforehand_who_would_break() {
    let browser = browser();
    let project = Setup::new("strict", &services("")).up();
    project.until_meshed(&["web", "db", "inside"]);
    before(&project);

    let text = services(", outrigger.mode: strict").replace("APPS", &crate::project::apps());
    project.write("docker-compose.yaml", &text);
    project.compose(&["up", "-d"]);
    project.until("web and db are strict", || {
        let status = project.status()?;
        let sidecars = status["sidecars"].as_array()?;
        let strict =
            sidecars.iter().filter(|sidecar| sidecar["mode"] == "strict" && sidecar["ready"] == true);
        (strict.count() == 2).then_some(())
    });
    project.until_meshed(&["web", "db", "inside"]);
    refused(&project);
    edge(&project, &browser);
    inside(&project);
}

/// Asks once over a connection, and keeps it until the other side ends it.
const KEEPER: &str = "
import http.client, pathlib
client = http.client.HTTPConnection('db', 8080)
client.request('GET', '/kept')
client.getresponse().read()
pathlib.Path('/tmp/kept').touch()
try:
    client.sock.recv(1)
except ConnectionError:
    pass
pathlib.Path('/tmp/ended').touch()
";

#[test]
#[ignore = "needs Docker"]
fn a_mesh_file_that_says_strict_closes_what_is_open_and_restarts_nothing() {
    let mounted = Some(("/etc/outrigger".into(), vec![("mesh.yaml".into(), "mode: permissive\n".into())]));
    let project = Setup { mounted, ..Setup::new("strict-file", &services("")) }.up();
    project.until_meshed(&["db", "inside"]);
    let legacy = project.container("legacy");
    docker(&["exec", "-d", &legacy, "python3", "-c", KEEPER]);
    let is_there = |file: &str| project.try_exec("legacy", &["test", "-e", file]).0.then_some(());
    project.until("an open connection from outside", || is_there("/tmp/kept"));
    assert!(is_there("/tmp/ended").is_none());
    let before = project.sidecars();
    project.write("mounted/mesh.yaml", "mode: strict\n");
    project.until("it is ended", || is_there("/tmp/ended"));
    let (served, text) = asked(&project, "legacy", "http://db:8080/refused");
    assert!(!served && text.contains("reset"), "{text}");
    let (served, text) = asked(&project, "inside", "http://db:8080/inside");
    assert!(served, "{text}");
    project.write("mounted/mesh.yaml", "mode: permissive\n");
    project.until("served again", || asked(&project, "legacy", "http://db:8080/").0.then_some(()));
    assert_eq!(project.sidecars(), before, "the same sidecars all the time");
    assert!(!project.log(&project.container("db")).contains("/refused"));
}

/// Permissive: everybody is served, and status names them.
fn before(project: &Project) {
    for host in ways_to(project, "db") {
        let (served, text) = asked(project, "legacy", &format!("http://{host}:8080/"));
        assert!(served, "permissive, {host}: {text}");
    }
    for service in ["db", "web"] {
        let (served, text) = curl(&format!("http://{}/", published(project, service)));
        assert!(served, "permissive, {service}: {text}");
    }
    let legacy = format!("{} (legacy of {})", project.container("legacy"), project.name);
    let by_both_families = |o: &Value| o["addresses"].as_array().is_some_and(|all| all.len() == 2);
    let found = outsider(project, "db", &legacy, by_both_families);
    assert_eq!((&found["would_break"], &found["refused"]), (&true.into(), &0.into()), "{found}");
    let found = outsider(project, "db", "the host or a published port", |_| true);
    assert_eq!((&found["would_break"], &found["edge"]), (&true.into(), &false.into()), "{found}");
    let found = outsider(project, "web", "the host or a published port", |_| true);
    assert_eq!((&found["would_break"], &found["edge"]), (&false.into(), &true.into()), "{found}");
    let (free, text) = strict_check(project, "db");
    assert!(!free && text.contains(&legacy), "{text}");
    for service in ["web", "inside"] {
        let (free, text) = strict_check(project, service);
        assert!(free, "{service}: {text}");
    }
}

/// Strict: nobody outside gets a byte to `db`, whichever way.
fn refused(project: &Project) {
    for host in ways_to(project, "db") {
        let (served, text) = asked(project, "legacy", &format!("http://{host}:8080/refused"));
        assert!(!served && text.contains("reset"), "at once, not by a timeout; {host}: {text}");
    }
    let (served, text) = curl(&format!("http://{}/refused", published(project, "db")));
    assert!(!served, "the host: {text}");
    let log = project.log(&project.container("db"));
    assert!(!log.contains("/refused"), "never came to the application: {log}");
    let found = outsider(project, "db", "legacy of", |o| o["refused"].as_u64() >= Some(3));
    assert_eq!(found["refused"], found["connections"], "{found}");
    let status = project.status().unwrap();
    let warned = status["problems"].as_array().unwrap().iter().any(|problem| {
        problem["kind"] == "strict" && problem["what"].as_str().unwrap().contains("outrigger inject compose")
    });
    assert!(warned, "{}", status["problems"]);
}

/// Strict: the edge is served, and the application learns who the client is.
fn edge(project: &Project, browser: &Path) {
    let gateway = "{{(index .IPAM.Config 0).Gateway}}";
    let gateway = docker(&["network", "inspect", "-f", gateway, &project.full("default")]);
    let expected = format!("client {} over http", gateway.trim());
    let url = format!("http://{}/", published(project, "web"));
    let (served, text) = curl(&url);
    assert!(served && text.contains(&expected), "{expected}: {text}");
    let page = browsed(browser, &url);
    assert!(page.contains(&expected), "{expected}: {page}");
    let (served, text) =
        asked(project, "legacy", &format!("http://{}:8080/", project.address("web", "default")));
    let expected = format!("client {} over http", project.address("legacy", "default"));
    assert!(served && text.contains(&expected), "{expected}: {text}");
}

/// Strict: the mesh itself goes on, whichever address it calls.
fn inside(project: &Project) {
    for host in ways_to(project, "db") {
        let (served, text) = asked(project, "inside", &format!("http://{host}:8080/inside"));
        assert!(served, "{host}: {text}");
    }
    let edge = project.until("three calls over mutual TLS", || {
        let edge = project.edge("inside", "db");
        (edge["requests"] == 3).then_some(edge)
    });
    assert_eq!((&edge["mtls"], &edge["errors"]), (&true.into(), &0.into()), "{edge}");
}
