//! When a network namespace has died.
//!
//! A sidecar outlives its application inside the old namespace: the engine takes the links away and makes a
//! new namespace for the next start. Nothing arrives there ever again, so the sidecar ends itself.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::time::Duration;

use super::listening::listening;
use crate::netlink::Events;

/// Between two looks where the kernel tells of each change.
const TOLD: Duration = Duration::from_secs(5);
/// Between two looks where it does not.
const UNTOLD: Duration = Duration::from_secs(1);
/// Devices that the kernel's tunnel modules put into each new namespace: there from birth, never removed.
const FALLBACK_DEVICES: [&str; 9] =
    ["erspan0", "gre0", "gretap0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "sit0", "tunl0"];

/// Why the links cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The table of links cannot be read.
    #[error("/proc/net/dev cannot be read ({0}); is /proc mounted?")]
    Table(#[source] io::Error),
}

/// Resolves when this namespace has lost every link it had besides loopback, and nobody but the sidecar
/// listens in it any more. Never resolves where there was no link at all (network `none`) or while an
/// application listens (`network disconnect` of its only network).
///
/// # Errors
/// The table of links cannot be read at the start.
pub async fn dead() -> Result<(), LinkError> {
    let mut had = !links().map_err(LinkError::Table)?.is_empty();
    let events = Events::links();
    if let Err(error) = &events {
        tracing::debug!(%error, "no netlink events: polling the links");
    }
    let mut patience = TOLD;
    loop {
        let told = match &events {
            Ok(events) => tokio::time::timeout(patience, events.next()).await.unwrap_or(Ok(())).is_ok(),
            Err(_) => false,
        };
        if !told {
            tokio::time::sleep(UNTOLD).await;
        }
        // A read that fails says nothing.
        let Ok(links) = links() else { continue };
        had |= !links.is_empty();
        // Nothing tells when the last listener closes.
        patience = if had && links.is_empty() { UNTOLD } else { TOLD };
        if had && links.is_empty() && listening().is_ok_and(|listening| listening.is_empty()) {
            return Ok(());
        }
    }
}

/// The namespace's links but loopback and those that come with every namespace.
fn links() -> io::Result<BTreeSet<String>> {
    let mut table = String::new();
    std::fs::File::open("/proc/net/dev")?.take(1 << 20).read_to_string(&mut table)?;
    Ok(parse(&table))
}

fn parse(table: &str) -> BTreeSet<String> {
    let names = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    let real = names.filter(|name| *name != "lo" && !FALLBACK_DEVICES.contains(name));
    real.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:   84       1    0    0    0     0          0         0       84       1    0    0    0     0       0          0
 tunl0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0: 1234567       9    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth1:1 1
";

    #[test]
    fn loopback_and_fallback_devices_do_not_count() {
        assert_eq!(parse(TABLE), ["eth0", "eth1"].map(str::to_owned).into());
        assert!(parse("").is_empty());
    }

    #[tokio::test]
    async fn a_living_namespace_is_not_dead() {
        let watched = tokio::time::timeout(Duration::from_millis(50), dead()).await;
        assert!(watched.is_err(), "still waiting");
    }
}
