//! The resolver's sockets: queries in, answers out.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use outrigger_lifecycle::{Ended, Tasks};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::answer::{Transport, Verdict, judge, refusal};
use super::forward;
use super::upstreams::Upstreams;
use super::{Counters, Names};

/// Forwarded queries under way at most; each holds a socket.
const MAX_QUERIES: usize = 1024;
/// TCP connections at most, and how long one may be silent.
const MAX_CONNECTIONS: usize = 128;
const IDLE: Duration = Duration::from_secs(10);
/// A socket that fails (out of memory or descriptors) is asked again after this time.
const PAUSE: Duration = Duration::from_millis(50);

/// What both address families share.
pub(super) struct Shared {
    names: watch::Receiver<Arc<Names>>,
    upstreams: Mutex<Upstreams>,
    queries: Semaphore,
    connections: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// Both protocols at one address.
pub(super) struct Side {
    pub(super) udp: Arc<UdpSocket>,
    pub(super) tcp: TcpListener,
}

impl Side {
    /// Answers until the sender of `stop` is gone, then waits for what is under way.
    pub(super) async fn serve(self, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
        let mut tasks = Tasks::new();
        let stopped = stop.clone();
        // A datagram is never larger.
        let mut datagram = vec![0; 64 * 1024];
        loop {
            tokio::select! {
                got = self.udp.recv_from(&mut datagram) => match got {
                    Ok((length, client)) => {
                        let query = datagram.get(..length).unwrap_or_default();
                        self.datagram(query, client, &shared, &mut tasks).await;
                    }
                    Err(error) => pause("UDP", &error).await,
                },
                got = self.tcp.accept() => match got {
                    Ok((stream, _)) => accept(stream, &shared, &mut tasks, stopped.clone()),
                    Err(error) => pause("TCP", &error).await,
                },
                Some(ended) = tasks.next_ended() => if let Ended::Panicked(message) = ended {
                    tracing::error!(message, "DNS query panicked; this is a bug");
                },
                _ = stop.changed() => break,
            }
        }
        drop(self);
        // Each query, and each connection that waits for one, has its own limit.
        while tasks.next_ended().await.is_some() {}
    }

    /// Mesh names are answered in place; only a forwarded query costs a task.
    async fn datagram(&self, query: &[u8], client: SocketAddr, shared: &Arc<Shared>, tasks: &mut Tasks) {
        match shared.judge(query, Transport::Udp) {
            Verdict::Ignore => {}
            Verdict::Answer(answer) => reply(&self.udp, &answer, client).await,
            Verdict::Forward => {
                let (udp, shared, query) = (self.udp.clone(), shared.clone(), query.to_vec());
                tasks.spawn("dns query", async move {
                    let answer = shared.forward(&query, Transport::Udp).await;
                    reply(&udp, &answer, client).await;
                });
            }
        }
    }
}

impl Shared {
    pub(super) fn new(
        names: watch::Receiver<Arc<Names>>,
        forward: Vec<SocketAddr>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            names,
            upstreams: Mutex::new(Upstreams::new(forward)),
            queries: Semaphore::new(MAX_QUERIES),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            counters,
        }
    }

    fn judge(&self, query: &[u8], transport: Transport) -> Verdict {
        let names = self.names.borrow().clone();
        let verdict = judge(query, &names, transport);
        if let Verdict::Answer(answer) = &verdict {
            let good = super::answer::code(answer) == ResponseCode::NoError.low();
            count(if good { &self.counters.mesh } else { &self.counters.failed });
        }
        verdict
    }

    /// Another server's answer, or SERVFAIL.
    async fn forward(&self, query: &[u8], transport: Transport) -> Vec<u8> {
        let answer = match self.queries.try_acquire() {
            Ok(_one_of_1024) => {
                let servers = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner).current();
                match transport {
                    Transport::Udp => forward::udp(query, &servers, payload(query)).await,
                    Transport::Tcp => forward::tcp(query, &servers).await,
                }
            }
            Err(_) => None,
        };
        count(if answer.is_some() { &self.counters.forwarded } else { &self.counters.failed });
        answer.unwrap_or_else(|| refusal(query, ResponseCode::ServFail))
    }
}

fn accept(stream: TcpStream, shared: &Arc<Shared>, tasks: &mut Tasks, stop: watch::Receiver<()>) {
    // Beyond the limit the connection is closed at once; the client asks again.
    let Ok(slot) = shared.connections.clone().try_acquire_owned() else { return };
    let shared = shared.clone();
    tasks.spawn("dns connection", async move {
        if let Err(error) = connection(stream, &shared, stop).await {
            tracing::debug!(%error, "DNS over TCP");
        }
        drop(slot);
    });
}

/// Queries of one connection, one after the other.
async fn connection(mut stream: TcpStream, shared: &Shared, mut stop: watch::Receiver<()>) -> io::Result<()> {
    loop {
        let query = tokio::select! {
            query = timeout(IDLE, forward::read_message(&mut stream)) => query??,
            _ = stop.changed() => None,
        };
        let Some(query) = query else { return Ok(()) };
        let answer = match shared.judge(&query, Transport::Tcp) {
            Verdict::Answer(answer) => answer,
            Verdict::Forward => shared.forward(&query, Transport::Tcp).await,
            Verdict::Ignore => return Ok(()),
        };
        timeout(IDLE, forward::write_message(&mut stream, &answer)).await??;
    }
}

/// What the client takes over UDP.
fn payload(query: &[u8]) -> u16 {
    Message::from_vec(query).map_or(0, |query| query.max_payload())
}

async fn reply(udp: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = udp.send_to(answer, client).await {
        tracing::debug!(%error, %client, "DNS answer not sent");
    }
}

async fn pause(protocol: &str, error: &io::Error) {
    tracing::warn!(%error, protocol, "DNS socket");
    sleep(PAUSE).await;
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
