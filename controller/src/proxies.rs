//! What the control socket knows of each sidecar. Written there; read by the mesh, by injection and by status.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_model::{Observed, WorkloadId};
use outrigger_wire::control::Report;
use tokio::sync::watch;
use tokio::time::Instant;

/// The control stream of one sidecar and what came over it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proxy {
    /// The sidecar's container id: what it says stands for this one alone.
    pub sidecar: String,
    /// Its stream is open.
    pub connected: bool,
    /// Version of its binary, from its hello.
    pub version: String,
    /// Version of the configuration sent last.
    pub sent: String,
    /// Version it acknowledged last.
    pub acked: String,
    /// Reasons of its last refusal; none once it took a later configuration.
    pub nack: Option<String>,
    /// Its last report, and when it came.
    pub report: Option<(Report, Instant)>,
}

impl Proxy {
    /// What the mesh needs of the last report; none before the first. A sidecar whose stream broke keeps what it
    /// said: it serves on without the controller, and its container's end is what ends it.
    pub fn observed(&self) -> Option<Observed> {
        let (report, _) = self.report.as_ref()?;
        let ports = |ports: &[u32]| ports.iter().filter_map(|port| u16::try_from(*port).ok()).collect();
        Some(Observed {
            ready: report.ready,
            listening: ports(&report.listening),
            wildcard: ports(&report.wildcard),
            loopback: ports(&report.loopback),
        })
    }
}

/// All of them, by workload. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<watch::Sender<BTreeMap<WorkloadId, Proxy>>>);

impl Proxies {
    /// A sidecar said hello. What an earlier one of the same workload said is forgotten; what this one said over an
    /// earlier stream is kept, since it serves on while the stream is away.
    pub fn hello(&self, workload: &WorkloadId, sidecar: &str, version: &str) {
        self.update(workload, |proxy| {
            if proxy.sidecar != sidecar {
                *proxy = Proxy { sidecar: sidecar.to_owned(), ..Proxy::default() };
            }
            proxy.connected = true;
            version.clone_into(&mut proxy.version);
        });
    }

    /// Changes what is known of one sidecar (made if unknown).
    pub fn update(&self, workload: &WorkloadId, change: impl FnOnce(&mut Proxy)) {
        self.0.send_modify(|proxies| change(proxies.entry(workload.clone()).or_default()));
    }

    /// Forgets what is not `known`.
    pub fn retain(&self, known: impl Fn(&WorkloadId, &Proxy) -> bool) {
        self.0.send_if_modified(|proxies| {
            let before = proxies.len();
            proxies.retain(|workload, proxy| known(workload, proxy));
            proxies.len() != before
        });
    }

    /// All that is known now.
    pub fn all(&self) -> BTreeMap<WorkloadId, Proxy> {
        self.0.borrow().clone()
    }

    /// Told of every change.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<WorkloadId, Proxy>> {
        self.0.subscribe()
    }
}
