//! Which servers answer what is not the mesh's.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

/// The file changes when the engine joins the container to a network; asked again after this time.
const REREAD: Duration = Duration::from_secs(5);
/// Servers of one file that are used. The C library takes three.
const MAX_SERVERS: usize = 8;
const DOMAIN: u16 = 53;

/// Servers by configuration, or those of `/etc/resolv.conf`.
pub(super) struct Upstreams {
    configured: bool,
    servers: Vec<SocketAddr>,
    read: Option<Instant>,
}

impl Upstreams {
    /// `forward` overrides the file; empty means the file.
    pub(super) fn new(forward: Vec<SocketAddr>) -> Self {
        Self { configured: !forward.is_empty(), servers: forward, read: None }
    }

    /// The servers now, in the order to ask them. A file that cannot be read leaves the last ones.
    pub(super) fn current(&mut self) -> Vec<SocketAddr> {
        let stale = self.read.is_none_or(|read| read.elapsed() >= REREAD);
        if !self.configured && stale {
            self.read = Some(Instant::now());
            let mut text = String::new();
            let file = std::fs::File::open("/etc/resolv.conf");
            match file.and_then(|file| file.take(64 * 1024).read_to_string(&mut text)) {
                Ok(_) => {
                    self.servers = nameservers(&text).into_iter().map(|ip| (ip, DOMAIN).into()).collect();
                }
                Err(error) => tracing::warn!(%error, "/etc/resolv.conf: keeping the servers known before"),
            }
        }
        self.servers.clone()
    }
}

/// The `nameserver` lines of a resolv.conf(5), at most 8. Lines that hold no address are left out, and so are
/// link-local addresses with a zone.
pub(crate) fn nameservers(text: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())?.and_then(|ip| ip.parse().ok())
    };
    text.lines().filter_map(of_line).take(MAX_SERVERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_c_library_does() {
        let text = "# nameserver 9.9.9.9\nsearch a.test\n\tnameserver\t127.0.0.11 # engine\nnameserver\n\
                    nameserver fd00::1\nnameserverx 1.1.1.1\nnameserver x\noptions ndots:0\n";
        assert_eq!(nameservers(text), ["127.0.0.11", "fd00::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(nameservers(&"nameserver 10.0.0.1\n".repeat(100)).len(), MAX_SERVERS);
    }
}
