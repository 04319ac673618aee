//! HTTP/2 connections that this sidecar opens: few per destination, many requests on each.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Ping;
use h2::client::{Connection, SendRequest};
use outrigger_wire::Transport;
use tokio::sync::watch;
use tokio::time::Sleep;

use super::coalesce::Coalesced;
use super::error::RequestError;
use super::full::FULL;
use super::head::Request;
use super::limits;
use super::open::Terms;
use super::streams::{InUse, Link, Sent};
use crate::cluster::Endpoint;
use crate::hash::Map;
use crate::stream::Stream;
use crate::tls::Alpn;
use crate::upstream;
use crate::worker::Worker;

/// Connections to one destination, at most; beyond, requests wait for a free stream.
const MAX_LINKS: usize = 8;
/// For an answer of an endpoint that was removed.
const ANSWER: Duration = Duration::from_secs(3);
/// Connections opened for one request, or waited for; a peer that ends each at once is as good as none.
const MAX_OPENED: u32 = 3;

/// Where a link leads.
#[derive(Clone, Debug)]
pub(super) enum To {
    /// A peer's sidecar, or an application over plaintext HTTP/2.
    Endpoint(Arc<Endpoint>, Alpn),
    /// The own application.
    Address(SocketAddr),
    /// The own application, which gets this PROXY header first; closed when the client's connection has ended.
    Announced(SocketAddr, Arc<[u8]>, watch::Receiver<()>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Endpoint(u64, Alpn),
    Address(SocketAddr),
    /// Where the header of one client's connection lies: it is the same one's as long as anybody has it.
    Announced(usize),
}

/// Links by destination.
#[derive(Default)]
pub(super) struct Links(RefCell<Map<Key, Group>>);

#[derive(Default)]
struct Group {
    links: Vec<Rc<Link>>,
    opening: Option<watch::Receiver<Option<Result<(), NoLink>>>>,
}

/// Why there is no new link.
#[derive(Clone, Debug)]
enum NoLink {
    /// The peer takes no more connections.
    Full,
    /// What failed.
    Failed(String),
}

impl Links {
    /// Sends a head over a link to `to`, opening one where needed, or waiting for a stream.
    ///
    /// # Errors
    /// Nothing was sent: no connection, it ended before, or no stream was free in time.
    pub async fn send(
        worker: &Worker,
        to: &To,
        limit: impl Fn() -> Duration,
        request: &Request,
        terms: &Terms,
    ) -> Result<Sent, RequestError> {
        let free = worker.pools().links.free(&to.key(), false);
        if let Some(in_use) = free.and_then(|(link, room)| link.take(room)) {
            return in_use.send(request, terms.ended);
        }
        // Rare, and large: every request would carry room for it.
        let in_use = Box::pin(Self::later(worker, to, limit, terms.hold)).await?;
        in_use.send(request, terms.ended)
    }

    /// A stream of a link that is opened, or of one where others end.
    async fn later(
        worker: &Worker,
        to: &To,
        limit: impl Fn() -> Duration,
        hold: Duration,
    ) -> Result<InUse, RequestError> {
        let links = &worker.pools().links;
        let mut opened = 0;
        loop {
            if let Some((link, _)) = links.free(&to.key(), opened >= MAX_OPENED) {
                let crowded = |_| RequestError::Crowded(to.to_string());
                if let Some(in_use) = tokio::time::timeout(hold, link.wait()).await.map_err(crowded)? {
                    return Ok(in_use);
                }
                link.retire();
                links.forget(&to.key(), &link);
                continue;
            }
            let outcome = if opened < MAX_OPENED {
                open(worker, to, limit()).await
            } else {
                Err(NoLink::Failed(format!("{to} ends every connection at once")))
            };
            match outcome {
                // Others may have taken all of its streams.
                Ok(()) => opened += 1,
                // It waits for a stream of those that are there.
                Err(NoLink::Full) if links.free(&to.key(), true).is_some() => opened = MAX_OPENED,
                Err(NoLink::Full) => return Err(RequestError::Crowded(to.to_string())),
                Err(NoLink::Failed(why)) => return Err(RequestError::Connect { why }),
            }
        }
    }

    /// A link with a free stream; with `any`, or where there can be no more, the least used one if there is none. And
    /// whether it has a free stream.
    fn free(&self, key: &Key, any: bool) -> Option<(Rc<Link>, bool)> {
        let groups = self.0.borrow();
        let group = groups.get(key)?;
        let least = group.links.iter().min_by_key(|link| link.load())?;
        let room = least.has_room();
        (room || any || group.links.len() >= MAX_LINKS).then(|| (least.clone(), room))
    }

    fn forget(&self, key: &Key, link: &Rc<Link>) {
        let mut groups = self.0.borrow_mut();
        let Some(group) = groups.get_mut(key) else { return };
        group.links.retain(|other| !Rc::ptr_eq(other, link));
        if group.links.is_empty() && group.opening.is_none() {
            groups.remove(key);
        }
    }
}

/// Opens one more link, or waits for the one that is being opened: a burst of requests makes one connection.
async fn open(worker: &Worker, to: &To, limit: Duration) -> Result<(), NoLink> {
    if to.is_full() {
        return Err(NoLink::Full);
    }
    let mut outcome = {
        let mut groups = worker.pools().links.0.borrow_mut();
        let group = groups.entry(to.key()).or_default();
        match &group.opening {
            Some(opening) => opening.clone(),
            None => {
                let (tell, outcome) = watch::channel(None);
                group.opening = Some(outcome.clone());
                worker.spawn(run(worker.clone(), to.clone(), limit, tell));
                outcome
            }
        }
    };
    let ended = |_| NoLink::Failed("the worker ended".to_owned());
    let outcome = outcome.wait_for(Option::is_some).await.map_err(ended)?;
    outcome.clone().unwrap_or(Ok(()))
}

/// The life of a link.
async fn run(worker: Worker, to: To, limit: Duration, tell: watch::Sender<Option<Result<(), NoLink>>>) {
    let key = to.key();
    let shaken = connect(&worker, &to, limit).await;
    let opened = {
        let mut groups = worker.pools().links.0.borrow_mut();
        let group = groups.entry(key.clone()).or_default();
        group.opening = None;
        match shaken {
            Ok((send, connection, io)) => {
                let link = Link::new(send);
                group.links.push(link.clone());
                tell.send_replace(Some(Ok(())));
                Some((link, connection, io))
            }
            Err(why) => {
                if group.links.is_empty() {
                    groups.remove(&key);
                }
                tell.send_replace(Some(Err(why)));
                None
            }
        }
    };
    if let Some((link, connection, io)) = opened {
        drive(&worker, &to, link, connection, &io).await;
    }
}

type Shaken = (SendRequest<Bytes>, Connection<Coalesced, Bytes>, Coalesced);

async fn connect(worker: &Worker, to: &To, limit: Duration) -> Result<Shaken, NoLink> {
    let io: Stream = match to {
        To::Endpoint(endpoint, alpn) => upstream::connect(worker, endpoint, *alpn, limit).await,
        To::Address(address) => upstream::dial(*address, limit).await,
        To::Announced(address, header, _) => upstream::application(*address, limit, Some(header)).await,
    }
    .map_err(|error| NoLink::Failed(error.to_string()))?;
    let io = Coalesced::new(io, BytesMut::new());
    let shaken = tokio::time::timeout(limit, handshake(io))
        .await
        .map_err(|_| h2::Error::from(h2::Reason::SETTINGS_TIMEOUT));
    shaken.and_then(|shaken| shaken).map_err(|error| {
        // Before any request: it does not mean what we sent.
        if error.is_go_away() && error.is_remote() && error.reason() == Some(FULL) && to.full() {
            return NoLink::Full;
        }
        NoLink::Failed(format!("HTTP/2 with {to}: {error}"))
    })
}

/// Ends when the peer's SETTINGS have come: one that refused our certificate, or speaks no HTTP/2, never got a request.
async fn handshake(io: Coalesced) -> Result<Shaken, h2::Error> {
    let (send, mut connection) = limits::client().handshake(io.clone()).await?;
    std::future::poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        let _written = io.poll_out(cx);
        match ended {
            Poll::Ready(ended) => Poll::Ready(ended.and(Err(h2::Reason::NO_ERROR.into()))),
            Poll::Pending if send.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    Ok((send, connection, io))
}

/// Polls the connection until it ends. When the endpoint is removed the link takes no more requests, and ends
/// with the last that runs; at once if nobody is there any more, for a namespace that is gone sends no FIN.
async fn drive(
    worker: &Worker,
    to: &To,
    link: Rc<Link>,
    mut connection: Connection<Coalesced, Bytes>,
    io: &Coalesced,
) {
    let links = &worker.pools().links;
    let mut pings = connection.ping_pong();
    let mut link = Some(link);
    let mut removed = pin!(to.removed());
    let mut silence: Option<Pin<Box<Sleep>>> = None;
    let ended = std::future::poll_fn(|cx| {
        if link.is_some() && removed.as_mut().poll(cx).is_ready() {
            if let Some(link) = link.take() {
                link.retire();
                links.forget(&to.key(), &link);
            }
            if pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok()) {
                silence = Some(Box::pin(tokio::time::sleep(ANSWER)));
            }
        }
        let ended = Pin::new(&mut connection).poll(cx);
        // An error here is seen by the connection as well, when it next reads or writes.
        let _written = io.poll_out(cx);
        if let (Some(wait), Some(pings)) = (&mut silence, &mut pings) {
            if pings.poll_pong(cx).is_ready() {
                silence = None;
            } else if wait.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(h2::Reason::SETTINGS_TIMEOUT.into()));
            }
        }
        ended
    })
    .await;
    if let Some(link) = link {
        link.retire();
        links.forget(&to.key(), &link);
    }
    if let Err(error) = ended {
        tracing::debug!(%to, %error, "HTTP/2 connection ended");
    }
}

impl To {
    fn key(&self) -> Key {
        match self {
            Self::Endpoint(endpoint, alpn) => Key::Endpoint(endpoint.id, *alpn),
            Self::Address(address) => Key::Address(*address),
            Self::Announced(_, header, _) => Key::Announced(header.as_ptr().addr()),
        }
    }

    /// A peer's sidecar takes no more connections; false for an application, which may mean anything by it.
    fn full(&self) -> bool {
        match self {
            Self::Endpoint(endpoint, _) if endpoint.transport == Transport::Mesh => {
                endpoint.full();
                true
            }
            Self::Endpoint(..) | Self::Address(_) | Self::Announced(..) => false,
        }
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Endpoint(endpoint, _) if endpoint.is_full())
    }

    async fn removed(&self) {
        match self {
            Self::Endpoint(endpoint, _) => endpoint.removed().await,
            Self::Address(_) => std::future::pending().await,
            Self::Announced(_, _, over) => while over.clone().changed().await.is_ok() {},
        }
    }
}

impl std::fmt::Display for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Endpoint(endpoint, _) => write!(f, "{} at {}", endpoint.workload, endpoint.address),
            Self::Address(address) | Self::Announced(address, ..) => write!(f, "{address}"),
        }
    }
}
