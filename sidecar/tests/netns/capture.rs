//! Where packets go once the rules are set.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use outrigger_wire::port;

use crate::namespace::{LIMIT, Neighbour, Role, ask, inside, run, run_as};
use crate::rules::{ENGINE, nft, set_rules};
use crate::sidecar;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Sends one datagram; the answer, or why there is none.
fn udp(target: &str) -> Result<String, std::io::ErrorKind> {
    let exchange = || {
        let target = address(target);
        let socket = UdpSocket::bind(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.connect(target)?;
        socket.send(b"?")?;
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    exchange().map_err(|error: std::io::Error| error.kind())
}

fn refused(target: &str) {
    let error = ask(address(target)).expect_err(target);
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{target}");
}

#[test]
fn what_the_application_opens_arrives_at_the_sidecar() {
    inside("capture::what_the_application_opens_arrives_at_the_sidecar", || {
        let _neighbour = Neighbour::new();
        sidecar::start();
        set_rules();
        for target in [
            "10.9.0.2:80",
            "[fd09::2]:80",
            "192.0.2.1:443",
            // Virtual addresses, also where the port is one that somebody listens on here.
            "127.64.0.7:80",
            "127.127.255.255:15020",
            "240.64.0.7:80",
            // The sidecar's ports elsewhere are ordinary ports.
            "10.9.0.2:15001",
            "10.9.0.2:15008",
        ] {
            assert_eq!(ask(address(target)).unwrap(), format!("outbound {target}"));
        }
    });
}

#[test]
fn loopback_and_own_addresses_are_left_alone() {
    inside("capture::loopback_and_own_addresses_are_left_alone", || {
        let _neighbour = Neighbour::new();
        sidecar::start();
        set_rules();
        sidecar::tell(TcpListener::bind("[::]:8080").unwrap(), "app");
        for target in [
            "127.0.0.1:8080",
            "127.0.0.2:8080",
            "127.63.255.255:8080",
            "127.128.0.1:8080",
            "[::1]:8080",
            "10.9.0.1:8080",
            "[fd09::1]:8080",
        ] {
            assert_eq!(ask(address(target)).unwrap(), format!("app {target}"));
        }
        refused("127.0.0.1:9");
    });
}

#[test]
fn only_both_ids_together_exempt_the_sidecar() {
    inside("capture::only_both_ids_together_exempt_the_sidecar", || {
        let neighbour = Neighbour::new();
        neighbour.does(|| sidecar::tell(TcpListener::bind("[::]:8080").unwrap(), "neighbour"));
        sidecar::start();
        set_rules();
        for target in ["10.9.0.2:8080", "[fd09::2]:8080"] {
            let target = address(target);
            let direct = Ok(format!("neighbour {target}"));
            let captured = Ok(format!("outbound {target}"));
            assert_eq!(run_as(port::UID, port::GID, Role::Ask(target)), direct);
            assert_eq!(run_as(port::UID, 0, Role::Ask(target)), captured);
            assert_eq!(run_as(0, port::GID, Role::Ask(target)), captured);
            assert_eq!(run_as(1000, 1000, Role::Ask(target)), captured);
        }
    });
}

#[test]
fn what_comes_from_outside_arrives_at_the_sidecar() {
    inside("capture::what_comes_from_outside_arrives_at_the_sidecar", || {
        let neighbour = Neighbour::new();
        sidecar::start();
        // The application's own listener is never reached, whatever it is bound to.
        sidecar::tell(TcpListener::bind("[::]:8080").unwrap(), "app");
        set_rules();
        neighbour.does(|| {
            for (target, name) in [
                ("10.9.0.1:8080", "inbound"),
                ("[fd09::1]:8080", "inbound"),
                ("10.9.0.1:9", "inbound"),
                ("10.9.0.1:15008", "mesh"),
                ("[fd09::1]:15008", "mesh"),
                ("10.9.0.1:15020", "admin"),
                // Ports of the sidecar's loopback side are no more than ports of the application from here.
                ("10.9.0.1:15001", "inbound"),
                ("10.9.0.1:15053", "inbound"),
            ] {
                assert_eq!(ask(address(target)).unwrap(), format!("{name} {target}"));
            }
            refused("10.9.0.1:15006");
            refused("[fd09::1]:15006");
            assert_eq!(udp("10.9.0.1:15053"), Err(std::io::ErrorKind::ConnectionRefused));
        });
    });
}

#[test]
fn questions_to_any_resolver_arrive_at_the_sidecar_s() {
    inside("capture::questions_to_any_resolver_arrive_at_the_sidecar_s", || {
        let neighbour = Neighbour::new();
        neighbour.does(|| sidecar::echo(UdpSocket::bind("[::]:5353").unwrap(), "neighbour"));
        sidecar::start();
        nft(ENGINE);
        set_rules();
        for target in ["10.9.0.2:53", "[fd09::2]:53", "127.0.0.11:53", "192.0.2.1:53"] {
            assert_eq!(udp(target), Ok("dns".into()), "{target}");
            assert_eq!(ask(address(target)).unwrap(), format!("dns {target}"));
        }
        // A server of the application's own is no resolver of the namespace.
        sidecar::echo(UdpSocket::bind("127.0.0.1:53").unwrap(), "app");
        sidecar::tell(TcpListener::bind("127.0.0.1:53").unwrap(), "app");
        assert_eq!(udp("127.0.0.1:53"), Ok("app".into()));
        assert_eq!(ask(address("127.0.0.1:53")).unwrap(), "app 127.0.0.1:53");
        // Other UDP passes, but not to a virtual address: it would end at a socket of the application.
        assert_eq!(udp("10.9.0.2:5353"), Ok("neighbour".into()));
        sidecar::echo(UdpSocket::bind("0.0.0.0:8125").unwrap(), "app");
        for target in ["127.64.0.7:8125", "240.64.0.7:8125"] {
            assert_eq!(udp(target), Err(std::io::ErrorKind::PermissionDenied), "{target}");
        }
    });
}

/// Sends a byte each way.
fn alive(mut one: &TcpStream, mut other: &TcpStream) {
    for stream in [one, other] {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
    }
    let mut byte = [0];
    one.write_all(b"a").unwrap();
    other.read_exact(&mut byte).unwrap();
    other.write_all(b"b").unwrap();
    one.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"b");
}

#[test]
fn connections_older_than_the_rules_live_on_and_are_counted() {
    inside("capture::connections_older_than_the_rules_live_on_and_are_counted", || {
        let neighbour = Neighbour::new();
        sidecar::start();
        let app = TcpListener::bind("[::]:8080").unwrap();
        let theirs = neighbour.does(|| TcpListener::bind("[::]:9090").unwrap());
        let mut pairs = Vec::new();
        for (inbound, outbound) in [("10.9.0.1:8080", "10.9.0.2:9090"), ("[fd09::1]:8080", "[fd09::2]:9090")]
        {
            let inbound = address(inbound);
            let client = neighbour.does(move || TcpStream::connect(inbound).unwrap());
            // The caller comes first: its next packet is the first one that the rules see.
            pairs.push((client, app.accept().unwrap().0));
            let client = TcpStream::connect(address(outbound)).unwrap();
            pairs.push((client, theirs.accept().unwrap().0));
        }
        let local = TcpStream::connect("10.9.0.1:8080").unwrap();
        pairs.push((app.accept().unwrap().0, local));
        assert_eq!(set_rules().unmeshed, 4, "each kind in both families, not those that stay inside");
        for (one, other) in &pairs {
            alive(one, other);
            alive(other, one);
        }
        // A new one does not get past the sidecar, and a second run tells it from the old ones.
        let target = address("10.9.0.2:9090");
        assert_eq!(ask(target).unwrap(), "outbound 10.9.0.2:9090");
        drop(pairs.split_off(1));
        assert_eq!(set_rules().unmeshed, 1);
        let (one, other) = &pairs[0];
        alive(one, other);
    });
}

#[test]
fn a_captured_connection_is_not_unmeshed() {
    inside("capture::a_captured_connection_is_not_unmeshed", || {
        let _neighbour = Neighbour::new();
        let mut listeners = sidecar::short_lived();
        set_rules();
        let client = TcpStream::connect("10.9.0.2:80").unwrap();
        assert_eq!(set_rules().unmeshed, 0, "not even before it is accepted");
        listeners.truncate(1);
        let mut accepted = Vec::new();
        // The step's own attempts wait in the backlog before it.
        let accepted = loop {
            let (stream, from) = listeners[0].accept().unwrap();
            if from == client.local_addr().unwrap() {
                break stream;
            }
            accepted.push(stream);
        };
        alive(&client, &accepted);
    });
}

#[test]
fn without_the_sidecar_everything_is_refused() {
    inside("capture::without_the_sidecar_everything_is_refused", || {
        let neighbour = Neighbour::new();
        neighbour.does(|| sidecar::tell(TcpListener::bind("[::]:80").unwrap(), "neighbour"));
        sidecar::tell(TcpListener::bind("[::]:8080").unwrap(), "app");
        let listeners = sidecar::short_lived();
        set_rules();
        drop(listeners);
        for target in ["10.9.0.2:80", "[fd09::2]:80", "127.64.0.7:80", "240.64.0.7:80", "10.9.0.2:53"] {
            refused(target);
        }
        assert_eq!(udp("10.9.0.2:53"), Err(std::io::ErrorKind::ConnectionRefused));
        neighbour.does(|| {
            refused("10.9.0.1:8080");
            refused("[fd09::1]:8080");
        });
        assert_eq!(ask(address("10.9.0.1:8080")).unwrap(), "app 10.9.0.1:8080", "inside it is left alone");
        // What no redirect catches, the guards refuse.
        nft("flush chain inet outrigger output\nflush chain inet outrigger prerouting\n");
        refused("10.9.0.2:80");
        refused("[fd09::2]:80");
        neighbour.does(|| {
            refused("10.9.0.1:8080");
            refused("[fd09::1]:8080");
        });
        assert_eq!(
            run_as(port::UID, port::GID, Role::Ask(address("10.9.0.2:80"))),
            Ok("neighbour 10.9.0.2:80".into())
        );
    });
}

#[test]
fn packets_on_their_way_through_are_not_the_application_s() {
    inside("capture::packets_on_their_way_through_are_not_the_application_s", || {
        let neighbour = Neighbour::new();
        sidecar::start();
        set_rules();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        neighbour.does(|| {
            run("ip route add 198.51.100.0/24 via 10.9.0.1");
            // Sent back to where it came from, and unreachable there.
            let connected =
                TcpStream::connect_timeout(&address("198.51.100.1:80"), Duration::from_millis(300));
            assert!(connected.is_err());
        });
    });
}
