//! `outrigger-sidecar health`: asks the admin port whether the sidecar is ready.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// The admin port answers at once or not at all.
const LIMIT: Duration = Duration::from_secs(2);

/// 0 when ready; else 1, and what is awaited on standard output.
pub fn check(admin: SocketAddr) -> ExitCode {
    match ask(admin) {
        Ok((true, _)) => ExitCode::SUCCESS,
        Ok((false, said)) => {
            print!("{said}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{}: {error}", local(admin));
            ExitCode::FAILURE
        }
    }
}

/// Ready or not, and the text of `/ready`.
pub(crate) fn ask(admin: SocketAddr) -> io::Result<(bool, String)> {
    let mut tcp = TcpStream::connect_timeout(&local(admin), LIMIT)?;
    tcp.set_read_timeout(Some(LIMIT))?;
    tcp.set_write_timeout(Some(LIMIT))?;
    tcp.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    tcp.take(64 * 1024).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.starts_with("HTTP/1.1 200"), body.to_owned()))
}

/// Where to reach an address that is bound for all.
fn local(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        // The admin port listens on both families where there are two; IPv4 is always there.
        ip if ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) || ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}
