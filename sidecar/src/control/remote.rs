//! The way to a controller on another host: TLS, by which it proves that it holds the pinned root's key, and the proof of
//! this sidecar's task, made for this one connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use outrigger_wire::control::pin::Pins;
use outrigger_wire::control::proof::{EXPORTER, Exported, Proof, binding};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Place;
use super::dial::DialError;
use crate::task::credentials::CredentialsError;
use crate::task::metadata::MetadataError;
use crate::task::proof::{ProofError, prove};
use crate::task::{Agent, TaskArn};
use crate::tls::controller::Controller;

/// To find the address and to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// For the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// After this the next address is tried as well (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// A controller on another host.
pub struct Remote {
    place: Place,
    tls: TlsConnector,
    controller: Arc<Controller>,
    agent: Agent,
    /// Never changes, once known.
    task: Option<TaskArn>,
}

/// Why a sidecar cannot prove its task.
#[derive(Debug, thiserror::Error)]
pub enum Unproved {
    /// It does not know which.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// It has no role, or not its keys.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// They cannot sign.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// TLS does not say by what the connection is known.
    #[error("the connection cannot be bound to: {0}")]
    Connection(#[from] rustls::Error),
}

impl Remote {
    /// The controller at a [`Place::Remote`], known by the pins of its root; the task is what the agent says.
    ///
    /// # Errors
    /// rustls does not take the protocol version.
    pub fn new(place: Place, pins: Pins, agent: Agent) -> Result<Self, rustls::Error> {
        let controller = Arc::new(Controller::new(pins));
        let tls = Arc::new(controller.clone().client()?).into();
        Ok(Self { place, tls, controller, agent, task: None })
    }

    /// A new connection to a controller that proved itself, and the proof for it.
    pub(super) async fn connect(&mut self) -> Result<(TlsStream<TcpStream>, Proof), DialError> {
        let task = match &self.task {
            Some(task) => task.clone(),
            None => {
                let endpoint = self.agent.metadata().map_err(Unproved::from)?;
                let arn = endpoint.task().await.and_then(|task| task.arn()).map_err(Unproved::from)?;
                self.task.insert(arn).clone()
            }
        };
        let stream = self.shake().await?;
        let proof = self.prove(&stream, &task).await?;
        Ok((stream, proof))
    }

    async fn shake(&self) -> Result<TlsStream<TcpStream>, DialError> {
        let Place::Remote { host, port } = &self.place else {
            return Err(DialError::Ended(format!("{} is no URL", self.place)));
        };
        let place = || self.place.to_string();
        let away = |source| DialError::Away { place: place(), source };
        let slow = || io::Error::from(io::ErrorKind::TimedOut);
        // A name is looked up each time: a controller that was moved is found.
        let tcp = timeout(CONNECT, connect(host, *port)).await.unwrap_or_else(|_| Err(slow()));
        let tcp = tcp.map_err(away)?;
        let _small_messages_at_once = tcp.set_nodelay(true);
        let name = ServerName::try_from(host.clone()).map_err(|error| away(io::Error::other(error)))?;
        match timeout(HANDSHAKE, self.tls.connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(stream),
            // Only what TLS itself says is about who is there; a connection that broke is about whether.
            Ok(Err(source)) if source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                Err(DialError::Stranger { place: place(), source })
            }
            Ok(Err(source)) => Err(away(source)),
            Err(_) => Err(away(slow())),
        }
    }

    async fn prove(&self, stream: &TlsStream<TcpStream>, task: &TaskArn) -> Result<Proof, Unproved> {
        let (_, connection) = stream.get_ref();
        let root = connection.peer_certificates().and_then(|chain| self.controller.root(chain));
        let root = root.ok_or(rustls::Error::NoCertificatesPresented)?;
        let exported = connection.export_keying_material(Exported::default(), EXPORTER, None)?;
        let credentials = self.agent.credentials()?.credentials().await?;
        Ok(prove(&credentials, task.region(), &binding(root, &exported), SystemTime::now())?)
    }
}

/// The first of a name's addresses that takes a connection; in no certain order, so that many sidecars spread.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    fastrand::shuffle(&mut addresses);
    let delays = (0_u32..).map(|turn| STAGGER * turn);
    let mut attempts: FuturesUnordered<_> = addresses
        .into_iter()
        .take(ADDRESSES)
        .zip(delays)
        .map(|(address, delay)| async move {
            sleep(delay).await;
            TcpStream::connect(address).await
        })
        .collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
