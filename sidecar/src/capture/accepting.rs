//! Waits for the sidecar, so that setting the rules causes no outage.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two attempts. The sidecar is another process, started at the same moment, in another mount
/// namespace; nothing tells when its socket listens, so it is asked, and each wait adds to the gap in which
/// the application runs unmeshed.
const SPACING: Duration = Duration::from_millis(3);

/// The time was up.
#[derive(Debug)]
pub(super) struct TimedOut;

/// Waits until something on 127.0.0.1 accepts at `port`; asks at least once.
pub(super) fn until_accepting(port: u16, deadline: Instant) -> Result<(), TimedOut> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    loop {
        // On loopback the kernel accepts or refuses at once; the limit is for a full backlog.
        let limit = deadline.saturating_duration_since(Instant::now()).max(SPACING);
        if TcpStream::connect_timeout(&address, limit).is_ok() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(TimedOut);
        }
        sleep(SPACING);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn resolves_once_it_listens_and_not_after_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        until_accepting(port, Instant::now()).unwrap();
        drop(listener);
        let waiting =
            std::thread::spawn(move || until_accepting(port, Instant::now() + Duration::from_secs(20)));
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        waiting.join().unwrap().unwrap();
        drop(_listener);
        until_accepting(port, Instant::now() + Duration::from_millis(20)).unwrap_err();
    }
}
