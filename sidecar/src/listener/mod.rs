//! Accepts connections and finds out what they are and where they go.

mod inbound;
mod introduce;
mod mesh;
mod outbound;
mod speech;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use outrigger_lifecycle::DrainGuard;
use outrigger_wire::ListenerKind;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::proxy_protocol::BadHeader;
use crate::stream;
use crate::worker::{Listen, Worker};

/// First pause when the process or the machine has no descriptor left; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a predecessor's connection may wait for its next request, as between two requests.
const ADOPTED: Duration = Duration::from_secs(120);

/// Serves a connection, once it is clear what it is and where it goes. What found that out is gone by then: what is left
/// is small, for it lives as long as the connection.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// Why a connection was not served. It is closed with RST: nothing was delivered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The listener of the connection is not in the configuration any more.
    #[error("its listener was removed")]
    Removed,
    /// The kernel knows no address before a redirect.
    #[error("no original destination, it was not redirected here: {0}")]
    NotRedirected(io::Error),
    /// It was meant for the listener itself.
    #[error("it was meant for the sidecar itself")]
    Loop,
    /// The service has no such port.
    #[error("{0} is a mesh address, but not a port of its service")]
    NoPort(SocketAddr),
    /// The service a listener points to is not in the configuration.
    #[error("there is no service `{0}` with port {1}")]
    NoService(String, u16),
    /// The application may not be reached on that port.
    #[error("port {0} is neither declared nor does the application listen there")]
    Closed(u16),
    /// Plaintext from outside under strict.
    #[error("plaintext from outside the mesh, which is refused here (strict)")]
    Strict,
    /// Plaintext from outside that was served until strict was switched on.
    #[error("plaintext from outside the mesh, which is refused here from now on (strict)")]
    NoLonger,
    /// No PROXY header, or a bad one, from where one is due.
    #[error(transparent)]
    BadHeader(#[from] BadHeader),
    /// The PROXY header did not come whole in time.
    #[error("no PROXY header within {0:?}")]
    HeaderLate(Duration),
    /// No certificate yet.
    #[error("no certificate yet")]
    NoIdentity,
    /// TLS failed.
    #[error("mutual TLS: {0}")]
    Tls(io::Error),
    /// The handshake took too long.
    #[error("mutual TLS: not done within {0:?}")]
    TlsTimeout(Duration),
    /// The server name is not ours.
    #[error("server name `{0}` is not a port of this workload")]
    ServerName(String),
    /// Bytes would go past what HTTP is held to: framing, and who the caller is said to be.
    #[error("bytes for port {0}, which is declared to speak HTTP")]
    NotHttp(u16),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Refused {
    /// As a metric's label.
    fn reason(&self) -> &'static str {
        match self {
            Self::Removed => "listener_removed",
            Self::NotRedirected(_) => "not_redirected",
            Self::Loop => "loop",
            Self::NoPort(_) | Self::NoService(..) => "no_port",
            Self::Closed(_) => "port_closed",
            Self::Strict => "plaintext",
            Self::NoLonger => "plaintext_cut",
            Self::BadHeader(_) | Self::HeaderLate(_) => "proxy_header",
            Self::NoIdentity => "no_certificate",
            Self::Tls(_) | Self::TlsTimeout(_) => "tls",
            Self::ServerName(_) => "server_name",
            Self::NotHttp(_) => "not_http",
            Self::Io(_) => "broken",
        }
    }
}

/// How a connection came here.
#[derive(Clone, Copy, Debug)]
enum Came {
    /// Accepted just now.
    New,
    /// From a predecessor, which had read its PROXY header if it had one: whom that named.
    Adopted(Option<SocketAddr>),
}

/// Serves one listener on one worker until it is removed or the process drains.
pub(crate) async fn run(worker: Worker, listen: Listen) {
    let Listen { name, socket, mut stop } = listen;
    let mut draining = worker.draining();
    let _guard = draining.guard();
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(listener = %name, %error, "cannot accept"),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.changed() => break,
            () = draining.begun() => break,
            accepted = accept(&worker, &listener) => accepted,
        };
        match accepted {
            Ok((tcp, remote, permit)) => {
                pause = FIRST_PAUSE;
                serve(&worker, &name, tcp, (remote, Came::New), permit);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(listener = %name, %error, "cannot accept; pausing {pause:?}");
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
    // Connections that the kernel completed already would be reset by closing the socket.
    if let Ok(socket) = listener.into_std() {
        while let Ok((tcp, remote)) = socket.accept() {
            let tcp = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp));
            let _broken_already =
                tcp.map(|tcp| serve(&worker, &name, tcp, (canonical(remote), Came::New), None));
        }
    }
}

/// Serves a connection that a predecessor had accepted, once its client says something: until then it is not clear
/// what it speaks, and the client may end it. `named` is whom its PROXY header named.
pub(crate) async fn adopt(
    worker: Worker,
    name: std::sync::Arc<str>,
    tcp: std::net::TcpStream,
    named: Option<SocketAddr>,
) {
    let adopted = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp));
    let Ok((tcp, remote)) = adopted.and_then(|tcp| tcp.peer_addr().map(|remote| (tcp, remote))) else {
        return;
    };
    let mut draining = worker.draining();
    let guard = draining.guard();
    let mut first = [0];
    tokio::select! {
        peeked = tokio::time::timeout(ADOPTED, tcp.peek(&mut first)) => {
            if matches!(peeked, Ok(Ok(1))) {
                serve(&worker, &name, tcp, (canonical(remote), Came::Adopted(named)), None);
            }
        }
        () = draining.begun() => worker.succession().give(tcp, named, guard),
    }
}

async fn accept(
    worker: &Worker,
    listener: &TcpListener,
) -> io::Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
    let permit = worker.permit().await;
    let (tcp, remote) = listener.accept().await?;
    Ok((tcp, canonical(remote), permit))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, PermissionDenied,
    };
    // EPERM: a firewall rule refused this one (accept(2)).
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | PermissionDenied
    )
}

fn serve(
    worker: &Worker,
    name: &std::sync::Arc<str>,
    tcp: TcpStream,
    (remote, came): (SocketAddr, Came),
    permit: Option<OwnedSemaphorePermit>,
) {
    let (connection, name) = (worker.clone(), name.clone());
    let guard = worker.draining().guard();
    worker.spawn(async move {
        let _held: (Option<OwnedSemaphorePermit>, DrainGuard) = (permit, guard);
        let open = connection.telemetry().opened();
        stream::tune(&tcp);
        // Boxed: only its outcome lives on. The configuration that it went by does not, either.
        let found = Box::pin(async { dispatch(&connection, &name, tcp, remote, came).await });
        match found.await {
            Ok(serving) => serving.await,
            Err(refused) => report(&connection, remote, &refused),
        }
        drop(open);
    });
}

fn report(worker: &Worker, remote: SocketAddr, refused: &Refused) {
    worker.telemetry().refused(refused.reason());
    tracing::debug!(%remote, %refused, "connection refused");
}

async fn dispatch(
    worker: &Worker,
    name: &str,
    tcp: TcpStream,
    remote: SocketAddr,
    came: Came,
) -> Result<Serving, Refused> {
    let generation = worker.generation();
    let listener = generation.config.proxy.listeners.get(name).ok_or(Refused::Removed)?;
    let kind = listener.kind.clone();
    match kind {
        ListenerKind::Outbound { target } => outbound::serve(worker, &generation, tcp, remote, &target).await,
        ListenerKind::Inbound { target } => {
            inbound::serve(worker, &generation, tcp, (remote, came), &target).await
        }
        ListenerKind::Mesh => mesh::serve(worker, &generation, tcp, remote).await,
        ListenerKind::Dns { .. } => Err(Refused::Removed),
    }
}

/// The address a redirected connection was meant for.
fn original_destination(tcp: &TcpStream) -> Result<SocketAddr, Refused> {
    let local = canonical(tcp.local_addr()?);
    let socket = SockRef::from(tcp);
    let asked = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    let address = asked.map_err(Refused::NotRedirected)?;
    let address = address.as_socket().map(canonical).ok_or(Refused::Loop)?;
    // A connection that the capture step opened here before there were rules, to see whether somebody accepts: the kernel
    // may come to know it by a packet of ours, and then takes the one who opened it for the destination.
    let own_end = address == local || address == canonical(tcp.peer_addr()?);
    if own_end { Err(Refused::Loop) } else { Ok(address) }
}

/// An IPv4 address that came in an IPv6 socket, as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Closes with RST what is not served.
fn refuse(tcp: &TcpStream, refused: Refused) -> Refused {
    let _already_closed = tcp.set_zero_linger();
    refused
}
