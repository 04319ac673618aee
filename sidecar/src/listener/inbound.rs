//! Plaintext connections from outside, and which address of the application a port leads to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use outrigger_wire::{InboundPort, SpiffeId, Target};
use tokio::net::TcpStream;

use super::{Came, Refused, Serving, canonical, introduce, original_destination, refuse, report, speech};
use crate::detect::{self, Rule, Spoken};
use crate::downstream::{Destination, Direction, Downstream};
use crate::netns::Listening;
use crate::proxy_protocol;
use crate::rate::Admission;
use crate::runtime::Generation;
use crate::stream::Stream;
use crate::worker::Worker;

pub(super) async fn serve(
    worker: &Worker,
    generation: &Arc<Generation>,
    mut tcp: TcpStream,
    (remote, came): (SocketAddr, Came),
    target: &Target,
) -> Result<Serving, Refused> {
    let (application, port) = match find(worker, generation, &tcp, remote, target) {
        Ok(found) => found,
        Err(refused) => return Err(refuse(&tcp, refused)),
    };
    let mut prefix = BytesMut::new();
    let due = || {
        generation.config.proxy.ports.get(&port).is_some_and(|port| port.proxy_protocol.expects(remote.ip()))
    };
    let named = match came {
        Came::Adopted(named) => named,
        Came::New if due() => match Box::pin(introduce::read(worker, &mut tcp, &mut prefix)).await {
            Ok(named) => named,
            Err(refused) => return Err(refuse(&tcp, refused)),
        },
        Came::New => None,
    };
    let (remote, introduced) = (named.unwrap_or(remote), named.is_some());
    worker.telemetry().plaintext_served(remote.ip(), port, generation.is_edge(port));
    let protocol = generation.config.proxy.ports.get(&port).map(|port| port.protocol).unwrap_or_default();
    let destination = Destination::Application(application);
    let announce =
        announce(generation, remote, SocketAddr::new(canonical(tcp.local_addr()?).ip(), port), None);
    let direction = Direction::Inbound;
    let downstream =
        Downstream { direction, remote, introduced, identity: None, port, destination, announce };
    let ending = worker.ending(&downstream);
    // Bytes have a bound of their own. Others are counted before they say a word, or silent ones could be without end.
    let admission = match detect::rule(protocol, port) {
        Rule::Known(Spoken::Bytes) => Admission::Free,
        Rule::Known(_) | Rule::LookForHttp | Rule::Look => worker.admit(matches!(came, Came::Adopted(_))),
    };
    let mut cut = Box::pin(async move { ending.cut().await });
    let mut serving = tokio::select! {
        biased;
        found = speech::serve(worker, Stream::Plain(tcp), prefix, downstream, protocol, admission) => found?,
        () = &mut cut => return Err(Refused::NoLonger),
    };
    let worker = worker.clone();
    Ok(Box::pin(async move {
        tokio::select! {
            biased;
            () = &mut serving => {}
            () = cut => report(&worker, remote, &Refused::NoLonger),
        }
    }))
}

/// The PROXY header that the application gets for a connection of `client` to `called`; none where it wants none.
pub(super) fn announce(
    generation: &Generation,
    client: SocketAddr,
    called: SocketAddr,
    caller: Option<&SpiffeId>,
) -> Option<Arc<[u8]>> {
    let port = generation.config.proxy.ports.get(&called.port())?;
    port.proxy_protocol.send.then(|| proxy_protocol::header(client, called, caller).into())
}

/// Where the application is called, and its port. What strict refuses is refused before anything else is looked at.
fn find(
    worker: &Worker,
    generation: &Generation,
    tcp: &TcpStream,
    remote: SocketAddr,
    target: &Target,
) -> Result<(SocketAddr, u16), Refused> {
    let meant = match target {
        Target::OriginalDestination => original_destination(tcp)?,
        Target::Port(port) => SocketAddr::new(canonical(tcp.local_addr()?).ip(), *port),
        Target::Service { name, port } => return Err(Refused::NoService(name.clone(), *port)),
    };
    let port = meant.port();
    if !generation.accepts_plaintext(port) {
        let known = generation.config.proxy.ports.contains_key(&port)
            || worker.listening().borrow().contains_key(&port);
        worker.telemetry().plaintext_refused(remote.ip(), port, known);
        return Err(Refused::Strict);
    }
    Ok((application(worker, generation, meant)?, port))
}

/// The application's address for a connection meant for `meant`, an own address and the called port.
pub(super) fn application(
    worker: &Worker,
    generation: &Generation,
    meant: SocketAddr,
) -> Result<SocketAddr, Refused> {
    let declared = generation.config.proxy.ports.get(&meant.port());
    if let Some(InboundPort { app_address: Some(address), .. }) = declared {
        return Ok(*address);
    }
    let listening = worker.listening();
    let seen = listens_at(&listening.borrow(), meant);
    match (seen, declared) {
        (Some(address), Some(_)) => Ok(address),
        // A port that is only seen never leads to a listener of 127.0.0.1: that one is not meant for others.
        (Some(address), None) if generation.config.proxy.seen_ports && address == meant => Ok(address),
        // Declared, and not seen: it may listen in a moment, and if not, connecting says so.
        (None, Some(_)) => Ok(meant),
        _ => Err(Refused::Closed(meant.port())),
    }
}

/// `meant` where the application listens there, 127.0.0.1 where it listens nowhere else.
fn listens_at(listening: &Listening, meant: SocketAddr) -> Option<SocketAddr> {
    let addresses = listening.get(&meant.port())?;
    let own = meant.ip();
    let reachable = |address: &IpAddr| {
        let address = address.to_canonical();
        // A wildcard of IPv6 takes IPv4 too, unless it was bound for IPv6 only, which nothing shows.
        address == own || (address.is_unspecified() && (address.is_ipv6() || own.is_ipv4()))
    };
    if addresses.iter().any(reachable) {
        return Some(meant);
    }
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    addresses.contains(&loopback).then_some(SocketAddr::new(loopback, meant.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_address_first_and_loopback_only_where_nothing_else_listens() {
        let table = [
            (vec!["0.0.0.0"], "10.0.0.2:80", Some("10.0.0.2:80")),
            (vec!["::"], "10.0.0.2:80", Some("10.0.0.2:80")),
            (vec!["::"], "[fd00::2]:80", Some("[fd00::2]:80")),
            (vec!["0.0.0.0"], "[fd00::2]:80", None),
            (vec!["127.0.0.1"], "10.0.0.2:80", Some("127.0.0.1:80")),
            (vec!["127.0.0.1", "10.0.0.2"], "10.0.0.2:80", Some("10.0.0.2:80")),
            (vec!["10.0.1.2"], "10.0.0.2:80", None),
        ];
        for (addresses, meant, expected) in table {
            let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
            let listening = Listening::from([(80, addresses)]);
            let found = listens_at(&listening, meant.parse().unwrap());
            assert_eq!(found, expected.map(|e| e.parse().unwrap()), "{meant}");
        }
    }
}
