//! HTTP/2 connections that this sidecar opens: few per destination, many requests on each.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{Ping, SendStream};
use outrigger_wire::Transport;
use tokio::sync::{Notify, watch};
use tokio::time::Sleep;

use super::coalesce::Coalesced;
use super::error::{Broken, RequestError};
use super::full::FULL;
use super::head::Request;
use super::limits;
use super::sides;
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
/// Connections opened for one request; a peer that ends each at once is as good as none.
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

struct Link {
    send: RefCell<SendRequest<Bytes>>,
    usable: Cell<bool>,
    /// Requests on it.
    active: Cell<usize>,
    /// Requests that wait until one of those ends.
    waiting: Cell<usize>,
    freed: Notify,
}

/// Why there is no new link.
#[derive(Clone, Debug)]
enum NoLink {
    /// The peer takes no more connections.
    Full,
    /// What failed.
    Failed(String),
}

/// A stream in use; counted until dropped.
pub(super) struct InUse(Rc<Link>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        if self.0.waiting.get() > 0 {
            self.0.freed.notify_one();
        }
    }
}

/// A request that waits for a stream; counted until dropped.
struct Waiting<'a>(&'a Link);

impl<'a> Waiting<'a> {
    fn on(link: &'a Link) -> Self {
        link.waiting.set(link.waiting.get() + 1);
        Self(link)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// What a request got: the response to come, and the body to send unless it ended with the head.
pub(super) type Sent = (ResponseFuture, SendStream<Bytes>, InUse);

impl Links {
    /// Sends a head over a link to `to`, opening one where needed, or waiting for a stream for at most `hold`.
    ///
    /// # Errors
    /// Nothing was sent: no connection, it ended before, or no stream was free in time.
    pub async fn send(
        worker: &Worker,
        to: &To,
        limit: impl Fn() -> Duration,
        hold: Duration,
        request: &Request,
        ended: bool,
    ) -> Result<Sent, RequestError> {
        let mut opened = 0;
        loop {
            if let Some(link) = worker.pools().links.free(&to.key(), opened > 0) {
                let in_use = match link.enter() {
                    None => Box::pin(tokio::time::timeout(hold, link.wait()))
                        .await
                        .map_err(|_| RequestError::Crowded(to.to_string()))?,
                    entered => entered,
                };
                let ready = std::future::poll_fn(|cx| link.poll_ready(cx)).await;
                if let (Some(in_use), true) = (in_use, ready.is_ok()) {
                    // Not on the one that all share: it would take no other before this one's stream is opened.
                    let mut send = link.send.borrow().clone();
                    let sent = send.send_request(sides::h2_request(request), ended);
                    let (response, body) = sent.map_err(|error| RequestError::NotDelivered(error.into()))?;
                    return Ok((response, body, in_use));
                }
                link.retire();
                worker.pools().links.forget(&to.key(), &link);
                continue;
            }
            let outcome = if opened < MAX_OPENED {
                Box::pin(open(worker, to, limit())).await
            } else {
                Err(NoLink::Failed(format!("{to} ends every connection at once")))
            };
            match outcome {
                Ok(()) => {}
                // It waits for a stream of those that are there.
                Err(NoLink::Full) if worker.pools().links.free(&to.key(), true).is_some() => {}
                Err(NoLink::Full) => return Err(RequestError::Crowded(to.to_string())),
                Err(NoLink::Failed(why)) => return Err(RequestError::Connect { why }),
            }
            opened += 1;
        }
    }

    /// A link with a free stream; with `any` the least used one, if there is none.
    fn free(&self, key: &Key, any: bool) -> Option<Rc<Link>> {
        let groups = self.0.borrow();
        let group = groups.get(key)?;
        let least = group.links.iter().min_by_key(|link| link.load())?;
        let wait = any || group.links.len() >= MAX_LINKS;
        (wait || least.has_room()).then(|| least.clone())
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

impl Link {
    fn new(send: SendRequest<Bytes>) -> Rc<Self> {
        let (active, waiting) = (Cell::new(0), Cell::new(0));
        let (send, usable, freed) = (RefCell::new(send), Cell::new(true), Notify::new());
        Rc::new(Self { send, usable, active, waiting, freed })
    }

    fn load(&self) -> usize {
        self.active.get() + self.waiting.get()
    }

    fn has_room(&self) -> bool {
        self.load() < self.most()
    }

    /// Streams at once. One may always be asked for: the peer opens it when it allows one again.
    fn most(&self) -> usize {
        let most = self.send.borrow().current_max_send_streams();
        most.clamp(1, limits::MAX_STREAMS as usize)
    }

    /// A stream, if one is free that nobody waits for.
    fn enter(self: &Rc<Self>) -> Option<InUse> {
        if self.has_room() { Some(self.take()) } else { None }
    }

    fn take(self: &Rc<Self>) -> InUse {
        self.active.set(self.active.get() + 1);
        InUse(self.clone())
    }

    /// A stream as soon as one is free; none: the connection takes no more. `h2` itself wakes one of those who wait.
    async fn wait(self: &Rc<Self>) -> Option<InUse> {
        let _waiting = Waiting::on(self);
        loop {
            let mut freed = pin!(self.freed.notified());
            // Before the look: what ends between look and wait is heard of.
            freed.as_mut().enable();
            if !self.usable.get() {
                return None;
            }
            if self.active.get() < self.most() {
                return Some(self.take());
            }
            freed.await;
        }
    }

    /// It takes no more requests.
    fn retire(&self) {
        self.usable.set(false);
        self.freed.notify_waiters();
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if !self.usable.get() {
            return Poll::Ready(Err(Broken::Closed));
        }
        self.send.borrow_mut().poll_ready(cx).map_err(Broken::Stream)
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
