//! `outrigger-sidecar hold`: the first process of a namespace holder. It owns the network namespace that application
//! and sidecar share, and does next to nothing: no runtime, no threads, asleep until it is asked to stop.
//!
//! With `--capture` it first sets the redirect rules and gives its capabilities away: the namespace is closed before
//! anything can join it, whatever the order in which an engine starts the containers.
//!
//! When it ends, the engine takes the namespace's links away. So when asked to stop it lingers until no peer has a
//! connection to the sidecar any more: the controller sees the engine's signal, takes the endpoint out, and callers
//! go elsewhere.

mod process;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use outrigger_wire::port;

use crate::capture;
use crate::netns::{self, Socket};
use process::Signals;

/// Settings of the holder.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// First set the redirect rules (needs NET_ADMIN, which is given away at once).
    #[arg(long)]
    pub capture: bool,
}

/// Longest time from the signal to the end; engines kill 10 s after it.
const LINGER: Duration = Duration::from_secs(7);
/// Callers need this long to hear that the endpoint is gone, although none of them has a connection just now.
const SETTLE: Duration = Duration::from_secs(1);
/// Between two looks at the connections; nothing tells when another process's socket closes.
const LOOK: Duration = Duration::from_millis(100);

/// Holds the namespace until SIGTERM or SIGINT and beyond it as long as peers need, at most 7 s; a second signal
/// ends it at once. Exit code 1 if the rules cannot be set: without them nothing may join.
pub fn run(args: &Args) -> ExitCode {
    // Before anything else: a signal that comes meanwhile waits.
    let signals = Signals::block();
    if args.capture {
        let closed = capture::close().map_err(|error| error.to_string());
        let closed = closed.and_then(|()| process::drop_capabilities().map_err(|error| error.to_string()));
        if let Err(error) = closed {
            eprintln!("hold: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!("{}", if args.capture { "holding; the rules are set" } else { "holding" });
    signals.wait();
    let begun = Instant::now();
    while begun.elapsed() < LINGER && !is_over(begun.elapsed(), &netns::sockets().unwrap_or_default()) {
        if signals.wait_at_most(LOOK) {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// Whether nobody needs the namespace any more, that long after the signal. Pure.
fn is_over(waited: Duration, sockets: &[Socket]) -> bool {
    let at = |socket: &&Socket, state| {
        socket.state == state && [port::MESH, port::INBOUND].contains(&socket.local.port())
    };
    // Where the sidecar does not listen (it went first, as in `compose down`), there is nobody to wait for.
    let serves = sockets.iter().any(|socket| at(&socket, netns::State::Listen));
    let called = sockets.iter().any(|socket| at(&socket, netns::State::Established));
    !called && (!serves || waited >= SETTLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netns::State::{Established, Listen};

    fn socket(port: u16, state: netns::State) -> Socket {
        Socket { local: ([10, 0, 0, 2], port).into(), remote: ([10, 0, 0, 3], 4000).into(), state, uid: 0 }
    }

    #[test]
    fn it_lingers_while_peers_have_connections_and_a_moment_for_those_that_have_none_yet() {
        let listens = socket(port::MESH, Listen);
        let (late, early) = (SETTLE, Duration::ZERO);
        assert!(!is_over(early, &[listens]), "a caller may not have heard");
        assert!(is_over(late, &[listens]));
        for busy in [port::MESH, port::INBOUND] {
            assert!(!is_over(late, &[listens, socket(busy, Established)]));
        }
        assert!(
            is_over(late, &[listens, socket(port::OUTBOUND, Established)]),
            "the application's own calls"
        );
        assert!(is_over(early, &[socket(8080, Listen)]), "the sidecar went first");
        assert!(!is_over(late, &[socket(port::MESH, Established)]), "the sidecar drains");
    }
}
