//! What the control socket knows of each sidecar. Written there; read by the mesh, by injection and by status.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use outrigger_model::{Checked, Observed, WorkloadId};
use outrigger_wire::control::{Report, Verdict};
use tokio::sync::watch;
use tokio::time::Instant;

/// The control stream of one sidecar and what came over it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proxy {
    /// The sidecar's container id: what it says stands for this one alone.
    pub sidecar: String,
    /// Its stream is open.
    pub connected: bool,
    /// Where its stream came from; none over the socket of the host.
    pub address: Option<IpAddr>,
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
    /// The sidecar that is to take its place.
    pub next: Option<Box<Proxy>>,
}

impl Proxy {
    /// What is known of this very sidecar, the present one or the next.
    pub fn of(&self, sidecar: &str) -> Option<&Self> {
        [Some(self), self.next.as_deref()].into_iter().flatten().find(|proxy| proxy.sidecar == sidecar)
    }

    /// What the mesh needs of the last report; none before the first. A sidecar whose stream broke keeps what it
    /// said: it serves on without the controller, and its container's end is what ends it.
    pub fn observed(&self) -> Option<Observed> {
        let (report, _) = self.report.as_ref()?;
        let ports = |ports: &[u32]| ports.iter().filter_map(|port| u16::try_from(*port).ok()).collect();
        Some(Observed {
            ready: report.ready,
            stopping: report.stopping,
            listening: ports(&report.listening),
            wildcard: ports(&report.wildcard),
            loopback: ports(&report.loopback),
            settled: report.settled,
            checked: report.check.as_ref().map(checked),
        })
    }
}

/// What the health check says, in the model's words.
fn checked(said: &outrigger_wire::control::Checked) -> Checked {
    let reason = said.reason.clone();
    match said.verdict() {
        Verdict::Pending => Checked::Pending(reason),
        Verdict::Passing => Checked::Passing,
        Verdict::Failing => Checked::Failing(reason),
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
                let next = proxy.next.take();
                *proxy = Proxy { sidecar: sidecar.to_owned(), next, ..Proxy::default() };
            }
            proxy.connected = true;
            version.clone_into(&mut proxy.version);
        });
    }

    /// A sidecar said hello that is to take the place of one that still runs.
    pub fn hello_next(&self, workload: &WorkloadId, sidecar: &str, version: &str) {
        let next = Proxy {
            sidecar: sidecar.to_owned(),
            version: version.to_owned(),
            connected: true,
            ..Proxy::default()
        };
        self.update(workload, |proxy| proxy.next = Some(Box::new(next)));
    }

    /// Changes what is known of this very sidecar; nothing, once another has its place.
    pub fn note(&self, workload: &WorkloadId, sidecar: &str, change: impl FnOnce(&mut Proxy)) {
        self.0.send_if_modified(|proxies| {
            let Some(proxy) = proxies.get_mut(workload) else { return false };
            let known = match proxy.next.as_deref_mut() {
                Some(next) if next.sidecar == sidecar => Some(next),
                _ => Some(proxy).filter(|proxy| proxy.sidecar == sidecar),
            };
            known.map(change).is_some()
        });
    }

    /// The stream of this very sidecar has ended. One that had its place still to take says all anew when it is back.
    pub fn gone(&self, workload: &WorkloadId, sidecar: &str) {
        self.0.send_if_modified(|proxies| {
            let Some(proxy) = proxies.get_mut(workload) else { return false };
            let next = proxy.next.take_if(|next| next.sidecar == sidecar).is_some();
            let own = proxy.sidecar == sidecar;
            proxy.connected &= !own;
            next || own
        });
    }

    /// The next sidecar becomes the present one where `present` says so.
    pub fn settle(&self, present: &BTreeMap<WorkloadId, String>) {
        self.0.send_if_modified(|proxies| {
            let mut settled = false;
            for (workload, sidecar) in present {
                let Some(proxy) = proxies.get_mut(workload) else { continue };
                if let Some(next) = proxy.next.take_if(|next| next.sidecar == *sidecar) {
                    *proxy = *next;
                    settled = true;
                }
            }
            settled
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_sidecar_counts_once_the_present_one_is_gone() {
        let (proxies, cart) = (Proxies::default(), WorkloadId("cart".into()));
        let ready = |proxy: &mut Proxy| {
            proxy.report = Some((Report { ready: true, ..Report::default() }, Instant::now()));
        };
        let present = || proxies.all()[&cart].clone();
        proxies.hello(&cart, "old", "1");
        proxies.note(&cart, "old", ready);
        proxies.hello_next(&cart, "new", "2");
        proxies.note(&cart, "new", |proxy| proxy.acked = "x".into());
        proxies.hello(&cart, "old", "1");
        proxies.note(&cart, "stranger", |proxy| proxy.acked = "y".into());
        assert!(present().observed().unwrap().ready && present().acked.is_empty(), "{:?}", present());
        assert!(present().of("new").unwrap().observed().is_none());
        proxies.note(&cart, "new", ready);
        proxies.settle(&BTreeMap::from([(cart.clone(), "old".to_owned())]));
        assert_eq!(present().sidecar, "old");
        proxies.settle(&BTreeMap::from([(cart.clone(), "new".to_owned())]));
        assert_eq!((present().sidecar.as_str(), present().version.as_str()), ("new", "2"));
        proxies.gone(&cart, "old");
        assert!(present().connected && present().observed().unwrap().ready);
    }

    #[test]
    fn a_next_one_that_failed_leaves_nothing() {
        let (proxies, cart) = (Proxies::default(), WorkloadId("cart".into()));
        proxies.hello(&cart, "old", "1");
        proxies.hello_next(&cart, "new", "2");
        proxies.gone(&cart, "new");
        assert_eq!(proxies.all()[&cart].next, None);
        assert!(proxies.all()[&cart].connected);
    }
}
