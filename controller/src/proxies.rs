//! What the control socket knows of each sidecar. Written there; read by the mesh, by injection and by status.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use outrigger_model::{Checked, Observed, WorkloadId};
use outrigger_wire::control::{Report, Verdict};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::source::Beside;

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

/// What the mesh needs of the sidecar that speaks for a workload. Most of what comes over its stream changes nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its id.
    pub sidecar: String,
    /// Its stream is open.
    pub connected: bool,
    /// Where its stream came from; none over the socket of the host.
    pub address: Option<IpAddr>,
    /// What it reports; none before the first report.
    pub observed: Option<Observed>,
    /// The id of the one that is to take its place.
    pub next: Option<String>,
}

impl Heard {
    fn of(proxy: &Proxy) -> Self {
        Self {
            sidecar: proxy.sidecar.clone(),
            connected: proxy.connected,
            address: proxy.address,
            observed: proxy.observed(),
            next: proxy.next.as_ref().map(|next| next.sidecar.clone()),
        }
    }
}

/// What is heard of all of them, by workload.
pub type AllHeard = BTreeMap<WorkloadId, Arc<Heard>>;

/// All of them, by workload. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<Channels>);

#[derive(Debug, Default)]
struct Channels {
    all: watch::Sender<BTreeMap<WorkloadId, Proxy>>,
    heard: watch::Sender<AllHeard>,
}

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
        self.change(workload, |proxies| {
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
        self.change(workload, |proxies| {
            let Some(proxy) = proxies.get_mut(workload) else { return false };
            let next = proxy.next.take_if(|next| next.sidecar == sidecar).is_some();
            let own = proxy.sidecar == sidecar;
            proxy.connected &= !own;
            next || own
        });
    }

    /// The next sidecar becomes the present one where `present` says so.
    pub fn settle(&self, present: &BTreeMap<WorkloadId, Beside>) {
        let all = self.0.all.borrow();
        let waits = all.iter().filter_map(|(workload, proxy)| Some((workload, proxy.next.as_deref()?)));
        let is_present = |(workload, next): &(&WorkloadId, &Proxy)| {
            present.get(*workload).is_some_and(|beside| beside.id == next.sidecar)
        };
        let settled: Vec<WorkloadId> =
            waits.filter(is_present).map(|(workload, _)| workload.clone()).collect();
        drop(all);
        for workload in settled {
            self.update(&workload, |proxy| {
                if let Some(next) = proxy.next.take() {
                    *proxy = *next;
                }
            });
        }
    }

    /// Changes what is known of one sidecar (made if unknown).
    pub fn update(&self, workload: &WorkloadId, change: impl FnOnce(&mut Proxy)) {
        self.change(workload, |proxies| {
            change(proxies.entry(workload.clone()).or_default());
            true
        });
    }

    /// Forgets what is not `known`.
    pub fn retain(&self, known: impl Fn(&WorkloadId, &Heard) -> bool) {
        let heard = self.0.heard.borrow();
        let unknown = heard.iter().filter(|(workload, heard)| !known(workload, heard));
        let unknown: Vec<WorkloadId> = unknown.map(|(workload, _)| workload.clone()).collect();
        drop(heard);
        for workload in unknown {
            self.change(&workload, |proxies| proxies.remove(&workload).is_some());
        }
    }

    /// Changes one entry; `change` says whether it did.
    fn change(&self, workload: &WorkloadId, change: impl FnOnce(&mut BTreeMap<WorkloadId, Proxy>) -> bool) {
        let Channels { all, heard } = &*self.0;
        if !all.send_if_modified(change) {
            return;
        }
        heard.send_if_modified(|heard| {
            // Looked at in here: of two changes at once the later look sees both.
            let now = all.borrow().get(workload).map(Heard::of);
            let changed = heard.get(workload).map(AsRef::as_ref) != now.as_ref();
            match now {
                Some(now) if changed => drop(heard.insert(workload.clone(), Arc::new(now))),
                None if changed => drop(heard.remove(workload)),
                _ => {}
            }
            changed
        });
    }

    /// All that is known now.
    pub fn all(&self) -> BTreeMap<WorkloadId, Proxy> {
        self.0.all.borrow().clone()
    }

    /// Told of every change.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<WorkloadId, Proxy>> {
        self.0.all.subscribe()
    }

    /// Told only of what the mesh needs: of thousands of reports a second, hardly any.
    pub fn heard(&self) -> watch::Receiver<AllHeard> {
        self.0.heard.subscribe()
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
        let beside = |id: &str| {
            let beside = Beside { id: id.into(), name: String::new(), upgrading: false };
            BTreeMap::from([(cart.clone(), beside)])
        };
        proxies.settle(&beside("old"));
        assert_eq!(present().sidecar, "old");
        proxies.settle(&beside("new"));
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

    #[test]
    fn the_mesh_is_told_of_what_it_needs_and_of_nothing_else() {
        let (proxies, cart) = (Proxies::default(), WorkloadId("cart".into()));
        let mut heard = proxies.heard();
        let mut told = || {
            let changed = heard.has_changed().unwrap();
            heard.mark_unchanged();
            changed
        };
        let report = |requests, ready| {
            let edge = outrigger_wire::control::Edge { requests, ..Default::default() };
            let report = Report { ready, edges: vec![edge], ..Report::default() };
            proxies.note(&cart, "a", |proxy| proxy.report = Some((report, Instant::now())));
        };
        proxies.hello(&cart, "a", "1");
        assert!(told());
        proxies.note(&cart, "a", |proxy| proxy.acked = "x".into());
        assert!(!told(), "a version that it runs");
        report(1, true);
        assert!(told());
        report(2, true);
        assert!(!told(), "the same but for its traffic");
        report(2, false);
        assert!(told());
        proxies.hello_next(&cart, "b", "2");
        assert!(told());
        proxies.gone(&cart, "a");
        assert!(told() && !proxies.heard().borrow()[&cart].connected);
        proxies.retain(|_, heard| heard.connected);
        assert!(told() && proxies.all().is_empty() && proxies.heard().borrow().is_empty());
    }
}
