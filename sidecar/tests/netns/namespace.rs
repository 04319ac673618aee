//! Namespaces for tests: a test runs itself again inside a fresh one; a neighbour is a thread in another.
#![allow(unsafe_code, reason = "unshare and gettid are system calls without a safe wrapper")]

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const INSIDE: &str = "OUTRIGGER_TEST_NETNS";
const TARGET: &str = "OUTRIGGER_TEST_TARGET";
/// No wait in these tests is longer.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Runs `body` in a fresh network (and mount) namespace with loopback up; `test` is the caller's full name.
pub fn inside(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        run("ip link set lo up");
        return body();
    }
    let tools = ["ip -V", "nft --version", "unshare --version"];
    let runs = |tool: &&str| command(tool).output().is_ok_and(|done| done.status.success());
    if !tools.iter().all(runs)
        || !Command::new("unshare").args(["-n", "-m", "true"]).status().unwrap().success()
    {
        eprintln!("skipped {test}: needs root and the commands ip, nft, unshare");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let mut again = Command::new("unshare");
    again.args(["-n", "-m"]).arg(own).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    assert!(again.status().unwrap().success(), "{test} failed inside its namespace");
}

/// Runs a command of plain words; its standard output.
pub fn run(line: &str) -> String {
    let done = command(line).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// What another process does.
#[derive(Clone, Copy)]
pub enum Role {
    /// Connect there and read to the end.
    Ask(SocketAddr),
    /// Run the capture step.
    Capture,
}

/// Runs a process with these ids and no capability, in the test's namespace; what it said.
pub fn run_as(uid: u32, gid: u32, role: Role) -> Result<String, String> {
    use std::os::unix::process::CommandExt;
    let target = match role {
        Role::Ask(target) => target.to_string(),
        Role::Capture => "capture".into(),
    };
    let done = Command::new("/proc/self/exe")
        .args(["--exact", "namespace::other_process", "--ignored", "--nocapture"])
        .env(TARGET, target)
        .uid(uid)
        .gid(gid)
        .output()
        .unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let answer =
        said.lines().find_map(|line| line.split_once("answer=")).map(|(_, answer)| answer.to_owned());
    let answer = answer.unwrap_or_else(|| panic!("no answer in {said}"));
    answer.strip_prefix("error ").map_or(Ok(answer.clone()), |text| Err(text.to_owned()))
}

#[test]
#[ignore = "the other process of run_as"]
fn other_process() {
    let Ok(target) = std::env::var(TARGET) else { return };
    let said = match target.parse() {
        Ok(target) => ask(target).map_err(|error| format!("{:?}", error.kind())),
        Err(_) => outrigger_sidecar::capture::capture(LIMIT)
            .map(|report| format!("{report:?}"))
            .map_err(|error| error.to_string()),
    };
    match said {
        Ok(text) => println!("\nanswer={text}"),
        Err(text) => println!("\nanswer=error {text}"),
    }
}

/// Connects and reads to the end.
pub fn ask(target: SocketAddr) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&target, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    io::read_to_string(stream)
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a second namespace, joined to the test's by a veth pair: `mesh0` (10.9.0.1, fd09::1) in the
/// test's, `peer0` (10.9.0.2, fd09::2) in the neighbour's.
pub struct Neighbour(mpsc::Sender<Job>);

impl Neighbour {
    pub fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (started, thread_id) = mpsc::channel();
        thread::spawn(move || {
            // SAFETY: no memory is involved; the thread alone changes its namespace.
            let (unshared, id) = unsafe { (libc::unshare(libc::CLONE_NEWNET), libc::gettid()) };
            assert_eq!(unshared, 0);
            started.send(id).unwrap();
            queue.into_iter().for_each(|job| job());
        });
        let id = thread_id.recv().unwrap();
        run("ip link add mesh0 type veth peer name peer0");
        run(&format!("ip link set peer0 netns {id}"));
        run("ip addr add 10.9.0.1/24 dev mesh0");
        run("ip addr add fd09::1/64 dev mesh0 nodad");
        run("ip link set mesh0 up");
        run("ip route add default via 10.9.0.2");
        run("ip -6 route add default via fd09::2");
        let neighbour = Self(jobs);
        neighbour.does(|| {
            for line in [
                "ip link set lo up",
                "ip addr add 10.9.0.2/24 dev peer0",
                "ip addr add fd09::2/64 dev peer0 nodad",
                "ip link set peer0 up",
                "ip addr add 192.0.2.1/32 dev lo",
            ] {
                run(line);
            }
        });
        neighbour
    }

    /// Runs a job over there and waits for it.
    pub fn does<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = move || {
            let _gone_if_the_test_failed = done.send(job());
        };
        self.0.send(Box::new(job)).unwrap();
        result.recv_timeout(2 * LIMIT).expect("the neighbour's job ended in time")
    }
}
