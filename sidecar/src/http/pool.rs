//! Idle HTTP/1.1 connections to the application, last used first.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::h1::Conn;
use crate::hash::Map;
use crate::worker::Worker;

/// Longest that is believed of `Keep-Alive: timeout=`.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// Idle connections kept per address.
const MAX_PER_ADDRESS: usize = 256;
/// Between two looks at what has been idle for too long.
const SWEEP: Duration = Duration::from_secs(1);

/// Idle connections by address.
#[derive(Default)]
pub(super) struct Idle {
    by_address: RefCell<Map<SocketAddr, Vec<Parked>>>,
    sweeping: Cell<bool>,
}

struct Parked {
    conn: Box<Conn>,
    until: Instant,
}

/// Connections to the application that began with a PROXY header of one client: its own requests alone follow on them,
/// and they end with the client's connection.
pub(super) struct Announced {
    header: Arc<[u8]>,
    idle: RefCell<Vec<Parked>>,
    over: watch::Sender<()>,
}

impl Announced {
    pub fn new(header: Arc<[u8]>) -> Self {
        Self { header, idle: RefCell::default(), over: watch::Sender::default() }
    }

    /// What each connection begins with.
    pub fn header(&self) -> &Arc<[u8]> {
        &self.header
    }

    /// Closed when the client's connection has ended.
    pub fn over(&self) -> watch::Receiver<()> {
        self.over.subscribe()
    }

    /// A connection that was used before and still looks open.
    pub fn take(&self, now: Instant) -> Option<Box<Conn>> {
        take(&mut self.idle.borrow_mut(), now)
    }

    /// Keeps a connection.
    pub fn park(&self, mut conn: Box<Conn>, until: Instant, now: Instant) {
        conn.rest();
        let mut idle = self.idle.borrow_mut();
        idle.retain(|parked| parked.until > now);
        idle.push(Parked { conn, until });
    }
}

fn take(parked: &mut Vec<Parked>, now: Instant) -> Option<Box<Conn>> {
    while let Some(mut last) = parked.pop() {
        if last.until > now && last.conn.is_quiet() {
            return Some(last.conn);
        }
    }
    None
}

/// How long a connection may wait whose last request ended at that moment; `seconds` is what the application says it keeps
/// it for.
pub(super) fn until(worker: &Worker, ended: Instant, seconds: Option<u64>) -> Instant {
    let said = seconds.map(|s| Duration::from_secs(s).saturating_sub(SWEEP).min(MAX_IDLE));
    ended + said.unwrap_or(worker.patience().pooled)
}

impl Idle {
    /// A connection that was used before and still looks open.
    pub fn take(&self, address: SocketAddr, now: Instant) -> Option<Box<Conn>> {
        take(self.by_address.borrow_mut().get_mut(&address)?, now)
    }

    /// Keeps a connection.
    pub fn park(worker: &Worker, address: SocketAddr, mut conn: Box<Conn>, until: Instant) {
        conn.rest();
        let idle = &worker.pools().idle;
        let mut by_address = idle.by_address.borrow_mut();
        let parked = by_address.entry(address).or_default();
        if parked.len() < MAX_PER_ADDRESS {
            parked.push(Parked { conn, until });
        }
        drop(by_address);
        if !idle.sweeping.replace(true) {
            worker.spawn(sweep(worker.clone()));
        }
    }

    /// Closes what is late; false when nothing is left.
    fn close_late(&self) -> bool {
        let now = Instant::now();
        let mut by_address = self.by_address.borrow_mut();
        by_address.retain(|_, parked| {
            parked.retain(|p| p.until > now);
            !parked.is_empty()
        });
        !by_address.is_empty()
    }
}

async fn sweep(worker: Worker) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let idle = &worker.pools().idle;
        if worker.draining().has_begun() || !idle.close_late() {
            idle.sweeping.set(false);
            return;
        }
    }
}
