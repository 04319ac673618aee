//! The sidecar itself behind the rules of the capture step: what the application opens is carried.
#![allow(unsafe_code, reason = "kill is a system call without a safe wrapper")]

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use outrigger_sidecar::capture::capture;
use outrigger_wire::port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use crate::namespace::{LIMIT, Neighbour, ask, inside};

/// What every sidecar of a captured workload listens on.
const PROXY: &str = r#"
  listeners:
    outbound: { address: "[::]:15001", kind: outbound, target: original-destination }
    inbound: { address: "[::]:15006", kind: inbound, target: original-destination }
    mesh: { address: "[::]:15008", kind: mesh }
    dns: { address: "127.0.0.1:15053", kind: dns }
"#;

const CART: &str = r#"
services:
  cart.shop:
    names: [ cart ]
    virtual_addresses: [ 127.64.0.7 ]
    ports: { 8080: { cluster: "cart.shop:8080", protocol: tcp } }
clusters:
  "cart.shop:8080":
    service: cart.shop
    port: 8080
    identity: spiffe://test.internal/shop/cart
    endpoints: [ { workload: shop-cart-1, address: "10.9.0.2:15008" } ]
"#;

/// Files that processes of the sidecar's user can read.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("outrigger-carried-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_outrigger-sidecar"), directory.join("sidecar")).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        for (service, more) in [("cart", ""), ("web", CART)] {
            let id = format!("spiffe://test.internal/shop/{service}");
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
            let leaf = params.signed_by(&key, &ca).unwrap();
            let own = directory.join(service);
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("key.pem"), key.serialize_pem()).unwrap();
            fs::write(own.join("chain.pem"), leaf.pem()).unwrap();
            fs::write(own.join("roots.pem"), ca.pem()).unwrap();
            let config = format!("proxy:\n  identity: {id}\n  workload: shop-{service}-1{PROXY}{more}");
            fs::write(own.join("config.yaml"), config).unwrap();
        }
        for path in
            [directory.clone(), directory.join("sidecar"), directory.join("cart"), directory.join("web")]
        {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(directory)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _left_for_the_system = fs::remove_dir_all(&self.0);
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = (self.0.kill(), self.0.wait());
    }
}

/// Starts a sidecar in the thread's namespace, without any privilege, and sets the rules.
fn captured(directory: &Path, service: &str) -> Process {
    let sidecar = started(directory, service);
    capture(LIMIT).unwrap();
    sidecar
}

fn started(directory: &Path, service: &str) -> Process {
    let own = directory.join(service);
    let sidecar = Command::new(directory.join("sidecar"))
        .arg("--config")
        .arg(own.join("config.yaml"))
        .arg("--identity")
        .arg(&own)
        .uid(port::UID)
        .gid(port::GID)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Process(sidecar)
}

/// Says `hello` to everybody.
fn greet() {
    let listener = TcpListener::bind("[::]:8080").unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _client_gone = write!(stream, "hello");
        }
    });
}

/// Does something to a process from outside: `SIGSTOP`, `SIGCONT`.
fn signal(process: &Process, signal: i32) {
    let id = i32::try_from(process.0.id()).unwrap();
    // SAFETY: no memory is involved; the process was started here and is not yet waited for.
    assert_eq!(unsafe { libc::kill(id, signal) }, 0);
}

/// Stops a process, and comes back when each of its threads stands still: the signal alone leaves it running for a moment.
fn stop(process: &Process) {
    signal(process, libc::SIGSTOP);
    let (id, mut status) = (i32::try_from(process.0.id()).unwrap(), 0);
    // SAFETY: `status` is ours; the process was started here and is not yet waited for.
    assert_eq!(unsafe { libc::waitpid(id, &raw mut status, libc::WUNTRACED) }, id);
    assert!(libc::WIFSTOPPED(status), "it ended instead: {status}");
}

/// Looks again and again, as nothing tells.
fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !seen() {
        assert!(Instant::now() < limit, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn metrics() -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port::ADMIN)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    std::io::read_to_string(stream).unwrap()
}

#[test]
fn calls_by_virtual_address_and_by_address_are_carried_over_mutual_tls() {
    inside("carried::calls_by_virtual_address_and_by_address_are_carried_over_mutual_tls", || {
        let (neighbour, files) = (Neighbour::new(), Files::new());
        let directory = files.0.clone();
        let _there = neighbour.does(move || {
            greet();
            captured(&directory, "cart")
        });
        let _here = captured(&files.0, "web");
        // The callee sees where its application listens within a moment of its start.
        let until = Instant::now() + LIMIT;
        while ask("127.64.0.7:8080".parse().unwrap()).ok().as_deref() != Some("hello") {
            assert!(Instant::now() < until, "the virtual address answers");
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(ask("10.9.0.2:8080".parse().unwrap()).unwrap(), "hello");
        let metrics = metrics();
        let mesh = r#"destination="cart.shop",destination_port="8080",protocol="tcp",mtls="true""#;
        assert!(metrics.contains(mesh) && metrics.contains("passthrough_connections_total 0\n"), "{metrics}");
        // No endpoint has that address: passed on as it is, and plaintext from outside for the callee.
        assert_eq!(ask("[fd09::2]:8080".parse().unwrap()).unwrap(), "hello");
        // A port that a service does not have, and one where nobody listens.
        assert!(ask("127.64.0.7:81".parse().unwrap()).is_err());
        assert!(ask("10.9.0.2:81".parse().unwrap()).is_err());
        // The listener itself.
        assert!(ask("127.0.0.1:15001".parse().unwrap()).is_err());
    });
}

/// The capture step opens connections to see whether the sidecar accepts. A busy sidecar takes them up after the rules
/// stand, when the kernel has made up where they came from: they are carried nowhere.
#[test]
fn what_the_capture_step_opens_is_carried_nowhere() {
    inside("carried::what_the_capture_step_opens_is_carried_nowhere", || {
        let files = Files::new();
        let sidecar = started(&files.0, "web");
        let table =
            || ["tcp", "tcp6"].map(|it| fs::read_to_string(format!("/proc/net/{it}")).unwrap()).concat();
        let is = |line: &str, state| line.split_whitespace().nth(3) == Some(state);
        let listens = |port: u16| {
            let end = format!(":{port:04X} ");
            table().lines().any(|line| is(line, "0A") && line.contains(&end))
        };
        until("it listens", || {
            [port::OUTBOUND, port::INBOUND, port::DNS, port::ADMIN].into_iter().all(listens)
        });
        stop(&sidecar);
        capture(LIMIT).unwrap();
        // The kernel acknowledges the end of each for the sidecar, some milliseconds after the rules: FIN_WAIT1 is over.
        until("the ends are acknowledged", || !table().lines().any(|line| is(line, "04")));
        signal(&sidecar, libc::SIGCONT);
        let refused = |metrics: &str| -> u32 {
            let of = |reason| format!("outrigger_connections_refused_total{{reason=\"{reason}\"}} ");
            let count =
                |of: String| metrics.lines().find_map(|line| line.strip_prefix(&of)?.parse::<u32>().ok());
            ["loop", "not_redirected"].into_iter().map(of).filter_map(count).sum()
        };
        until("both connections are refused", || refused(&metrics()) == 2);
        assert!(metrics().contains("passthrough_connections_total 0\n"), "{}", metrics());
    });
}
