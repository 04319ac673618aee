//! Connections of peers' sidecars: mutual TLS from the first byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use outrigger_wire::{Protocol, SpiffeId};
use rustls::pki_types::UnixTime;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::{Refused, Serving, canonical, inbound, refuse};
use crate::downstream::{Destination, Direction, Downstream, HttpKind};
use crate::runtime::Generation;
use crate::stream::{self, Ahead, Stream};
use crate::tls::{Alpn, Contexts};
use crate::worker::Worker;
use crate::{http, tcp};

/// A peer's sidecar is done with its handshake by then, or it is none.
const HANDSHAKE: Duration = Duration::from_secs(10);

pub(super) async fn serve(
    worker: &Worker,
    generation: &Arc<Generation>,
    tcp: TcpStream,
    remote: SocketAddr,
) -> Result<Serving, Refused> {
    let Some(contexts) = worker.tls() else { return Err(refuse(&tcp, Refused::NoIdentity)) };
    let own = canonical(tcp.local_addr()?);
    let handshake = Box::pin(handshake(worker, generation, &contexts, tcp, own));
    let accepted = tokio::time::timeout(HANDSHAKE, handshake).await;
    let Accepted { io, alpn, caller, port, application } =
        accepted.map_err(|_| Refused::TlsTimeout(HANDSHAKE))??;
    let destination = Destination::Application(application);
    let identity = Some(caller);
    let called = SocketAddr::new(own.ip(), port);
    let announce = inbound::announce(generation, remote, called, identity.as_ref());
    let direction = Direction::Inbound;
    let downstream =
        Downstream { direction, remote, introduced: false, identity, port, destination, announce };
    if alpn.is_http2() {
        stream::expect_reading(io.tcp());
    }
    let (prefix, worker) = (BytesMut::new(), worker.clone());
    let kind = match alpn {
        Alpn::H2 => HttpKind::Http2,
        Alpn::H2ForHttp1 => HttpKind::Http2ForHttp1,
        Alpn::Http1 => HttpKind::Http1,
        Alpn::Tcp => return Ok(tcp::serve(io, prefix, downstream, worker)),
    };
    // Not before: who has proven nothing takes no place from those who have.
    let admission = worker.admit(false);
    Ok(http::serve(io, kind, prefix, downstream, worker, admission))
}

struct Accepted {
    io: Stream,
    alpn: Alpn,
    caller: SpiffeId,
    port: u16,
    application: SocketAddr,
}

/// What the caller asks for is checked before the own certificate is shown.
async fn handshake(
    worker: &Worker,
    generation: &Generation,
    contexts: &Contexts,
    tcp: TcpStream,
    own: SocketAddr,
) -> Result<Accepted, Refused> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), Ahead::new(tcp));
    let hello = hello.await.map_err(Refused::Tls)?;
    let name = hello.client_hello().server_name().unwrap_or_default().to_owned();
    let port = own_port(&name, generation).ok_or(Refused::ServerName(name))?;
    let application = inbound::application(worker, generation, SocketAddr::new(own.ip(), port))?;
    let tls = hello.into_stream(contexts.server()).await.map_err(Refused::Tls)?;
    let (_, session) = tls.get_ref();
    let missing = |what| Refused::Tls(std::io::Error::other(what));
    let alpn = session.alpn_protocol().and_then(Alpn::of).ok_or_else(|| missing("no protocol (ALPN)"))?;
    let declared = generation.config.proxy.ports.get(&port).map(|port| port.protocol);
    if alpn == Alpn::Tcp && matches!(declared, Some(Protocol::Http | Protocol::Http2)) {
        return Err(Refused::NotHttp(port));
    }
    let caller = contexts.peer(session.peer_certificates(), UnixTime::now());
    let caller = caller.map_err(|error| Refused::Tls(std::io::Error::other(error)))?;
    Ok(Accepted { io: Stream::Tls(Box::new(tls.into())), alpn, caller, port, application })
}

/// The port in `<port>.<service>.<namespace>` if the rest is the own service. Names compare as DNS names do.
fn own_port(name: &str, generation: &Generation) -> Option<u16> {
    let (port, service) = name.split_once('.')?;
    let own = service.eq_ignore_ascii_case(&generation.own_service());
    own.then(|| port.parse().ok()).flatten()
}
