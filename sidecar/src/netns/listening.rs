//! Where the application listens.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use outrigger_wire::port;
use tokio::sync::watch;
use tokio::time::Instant;

use super::diag;
use super::sockets::{self, Socket};

/// Ports on which something that is not the sidecar listens, with the addresses bound. `0.0.0.0` is every
/// IPv4 address; `::` is every address of both families, unless the application made it IPv6-only (which
/// the kernel's table does not show).
pub type Listening = BTreeMap<u16, BTreeSet<IpAddr>>;

/// Docker's resolver listens here in each container's namespace: not the application.
const ENGINE_RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// An application opens its ports soon after its start, so at first, and after each change, look often.
const EAGER: Duration = Duration::from_millis(100);
/// Then ever less: so many looks fit into the time since the last change, and what comes late is found a twentieth later.
/// A look costs the kernel a walk over a table that is as large as its memory.
const LOOKS: u32 = 20;
/// Between two looks where nothing listens yet: a slow start must not wait for the sidecar as well.
const AWAITING: Duration = Duration::from_millis(200);
/// Between two looks at a quiet namespace.
const QUIET: Duration = Duration::from_secs(1);

/// Where the application listens now.
///
/// # Errors
/// The kernel answers neither way.
pub fn listening() -> io::Result<Listening> {
    if let Ok(sockets) = diag::listeners() {
        return Ok(of(&sockets));
    }
    let mut sockets = sockets::listeners("/proc/net/tcp")?;
    sockets.extend(sockets::listeners("/proc/net/tcp6")?);
    Ok(of(&sockets))
}

/// The application's listeners, kept current by the returned future, which runs for ever. The first
/// look is taken at once, so the receiver starts with a true value.
///
/// Polled: the kernel tells of listening sockets only those who hold CAP_NET_ADMIN.
///
/// # Errors
/// `/proc/net/tcp` cannot be read.
pub fn watch_listening() -> io::Result<(watch::Receiver<Listening>, impl Future<Output = ()> + Send)> {
    let (publish, seen) = watch::channel(listening()?);
    let follow = async move {
        let mut changed = Instant::now();
        loop {
            let longest = if publish.borrow().is_empty() { AWAITING } else { QUIET };
            let wait = (changed.elapsed() / LOOKS).clamp(EAGER, longest);
            tokio::time::sleep(wait).await;
            // A read that fails says nothing: the last view stays.
            let Ok(now) = listening() else { continue };
            let differs = publish.send_if_modified(|last| {
                let differs = *last != now;
                *last = now;
                differs
            });
            if differs {
                changed = Instant::now();
            }
        }
    };
    Ok((seen, follow))
}

fn of(sockets: &[Socket]) -> Listening {
    let mut listening = Listening::new();
    for Socket { local, uid, .. } in sockets {
        let ours = *uid == port::UID || port::RESERVED.contains(&local.port());
        if !ours && local.ip() != ENGINE_RESOLVER {
            listening.entry(local.port()).or_default().insert(local.ip());
        }
    }
    listening
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sidecar_and_the_engine_are_not_the_application() {
        let listen = |local: &str, uid| Socket {
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            state: sockets::State::Listen,
            uid,
        };
        let seen = of(&[
            listen("0.0.0.0:8080", 1000),
            listen("[::]:8080", 1000),
            listen("127.0.0.1:9000", 0),
            listen("[::]:9999", port::UID),
            listen("0.0.0.0:15006", 0),
            listen("127.0.0.11:40123", 0),
        ]);
        let ports: Vec<_> = seen.keys().copied().collect();
        assert_eq!(ports, [8080, 9000]);
        assert_eq!(seen[&8080].len(), 2);
    }

    #[tokio::test]
    async fn a_new_listener_is_published_and_a_closed_one_leaves() {
        let (mut seen, follow) = watch_listening().unwrap();
        let limit = Duration::from_secs(20);
        let test = async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let there =
                |seen: &Listening| seen.get(&address.port()).is_some_and(|a| a.contains(&address.ip()));
            seen.wait_for(there).await.unwrap();
            drop(listener);
            seen.wait_for(|seen| !there(seen)).await.unwrap();
        };
        tokio::select! {
            done = tokio::time::timeout(limit, test) => done.expect("published in time"),
            () = follow => unreachable!("runs for ever"),
        }
    }
}
