//! The access log: one JSON object on each line of standard output. A reader that is too slow loses lines, never
//! holds up traffic; lost lines are counted.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Lines that wait for standard output.
const WAITING: usize = 4096;

/// One request, or one byte stream that has ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Access<'a> {
    /// `inbound` or `outbound`.
    pub direction: &'a str,
    /// The other side, as in metrics.
    pub peer: &'a str,
    /// Address of the downstream socket.
    pub remote: &'a str,
    /// The called port.
    pub port: u16,
    /// `http`, `grpc` or `tcp`.
    pub protocol: &'a str,
    /// Mutual TLS carried it.
    pub mtls: bool,
    /// Method, on requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// Path without query, on requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// Status sent downstream, on requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Route that took it, on outbound requests to ports that have any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// Id of its W3C trace, on requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
    /// Endpoint that served it, on outbound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// Bytes received from downstream (bodies, on requests).
    pub received: u64,
    /// Bytes sent to downstream, on byte streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Microseconds from the first byte to the last.
    pub duration_us: u64,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    /// Unix seconds.
    time: f64,
    #[serde(flatten)]
    access: &'a Access<'a>,
}

/// Where lines go.
#[derive(Debug)]
pub(super) struct AccessLog {
    lines: SyncSender<Vec<u8>>,
    pub lost: AtomicU64,
}

impl AccessLog {
    /// Starts the thread that writes; it ends with this.
    pub fn start() -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&waiting))?;
        Ok(Self { lines, lost: AtomicU64::new(0) })
    }

    pub fn write(&self, access: &Access<'_>) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let Ok(mut line) = serde_json::to_vec(&Line { time, access }) else { return };
        line.push(b'\n');
        if self.lines.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(waiting: &Receiver<Vec<u8>>) {
    let mut out = std::io::stdout().lock();
    while let Ok(line) = waiting.recv() {
        // Nobody reads: there is nobody to tell either.
        let _closed = out.write_all(&line);
    }
}
