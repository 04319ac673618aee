//! `outrigger-sidecar wait`: ends once the sidecar of this network namespace is ready. What depends on its success
//! starts with a sidecar that is certified, configured and listening.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::health;

/// How long to wait.
#[derive(Clone, Debug, clap::Args)]
pub struct Limit {
    /// How long the sidecar may take to be ready, in seconds; it waits for the controller as long.
    #[arg(long, value_name = "SECONDS", env = "OUTRIGGER_WAIT_TIMEOUT", default_value_t = 300)]
    pub timeout: u64,
}

/// The sidecar is not ready.
#[derive(Debug, thiserror::Error)]
#[error(
    "the sidecar of this network namespace is not ready after {seconds} s ({said}). Certificate and configuration come \
     from the controller: does its container run, and does the sidecar mount its control volume? `--timeout` waits longer"
)]
pub struct NotReady {
    seconds: u64,
    said: String,
}

/// Between two questions at first and later: each wait adds to the time in which the application does not start.
const SPACING: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// The time in which it asks often.
const SOON: Duration = Duration::from_secs(2);
/// Between two lines that say what is awaited.
const SAY: Duration = Duration::from_secs(10);

/// Exit code 0 once it is ready, else 1 with the reason on standard error.
pub fn run(admin: SocketAddr, limit: &Limit) -> ExitCode {
    match until_ready(admin, Duration::from_secs(limit.timeout), Instant::now(), "wait") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wait: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits until the sidecar with this admin port says that it is ready, at most `limit` from `begun`; asks at least once.
/// Says on standard error, as `step`, what is awaited when it takes long.
///
/// # Errors
/// The time is over.
pub fn until_ready(admin: SocketAddr, limit: Duration, begun: Instant, step: &str) -> Result<(), NotReady> {
    let mut told = begun;
    loop {
        let said = match health::ask(admin) {
            Ok((true, _)) => return Ok(()),
            Ok((false, said)) => said.trim().replace('\n', ", "),
            Err(error) => format!("nothing answers at {admin}: {error}"),
        };
        if begun.elapsed() >= limit {
            return Err(NotReady { seconds: limit.as_secs(), said });
        }
        if told.elapsed() >= SAY {
            told = Instant::now();
            eprintln!(
                "{step}: the sidecar is not ready: {said}; its certificate and its configuration come from the \
                 controller. Waiting; the application stays down meanwhile"
            );
        }
        sleep(if begun.elapsed() < SOON { SPACING.0 } else { SPACING.1 });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ends_when_the_sidecar_is_ready_and_names_the_controller_when_it_never_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = listener.local_addr().unwrap();
        let answers =
            ["503 Service Unavailable\r\n\r\nawaited for 1.0 s: certificate\n", "200 OK\r\n\r\nready\n"];
        let server = std::thread::spawn(move || {
            for answer in [answers[0], answers[0], answers[1]] {
                let (mut stream, _) = listener.accept().unwrap();
                let _head = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
            }
        });
        let late = until_ready(admin, Duration::ZERO, Instant::now(), "test").unwrap_err().to_string();
        assert!(late.contains("certificate") && late.contains("controller"), "{late}");
        until_ready(admin, Duration::from_secs(20), Instant::now(), "test").unwrap();
        server.join().unwrap();
        let absent = until_ready(admin, Duration::ZERO, Instant::now(), "test").unwrap_err().to_string();
        assert!(absent.contains("nothing answers"), "{absent}");
    }
}
