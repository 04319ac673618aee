//! What a runtime holds: the configuration's listeners, bound and served, and the crew behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use outrigger_wire::{Listener, ListenerKind, ProxyConfig};
use tokio::sync::watch;

use super::{Bound, Generation, Parts, Resolving, Shared};
use crate::dns::{Names, Resolver};
use crate::handover::{Kept, Role};
use crate::hosts::Names as HostNames;
use crate::tls::Contexts;
use crate::worker::{Crew, Listen};

pub(super) struct State {
    pub parts: Parts,
    pub names: watch::Sender<Arc<Names>>,
    pub next_id: u64,
    pub running: Option<Running>,
    pub listeners: BTreeMap<String, Open>,
    /// What stands in the hosts file; none before the first configuration: it may be a predecessor's.
    pub in_hosts: Option<HostNames>,
}

pub(super) struct Running {
    pub shared: Arc<Shared>,
    pub crew: Crew,
}

/// A listener that is bound; dropping `stop` ends it.
pub(super) struct Open {
    pub config: Listener,
    pub address: SocketAddr,
    /// Mesh sockets wait here for a certificate, and so does all that a predecessor still serves.
    pub waiting: Option<Sockets>,
    /// Duplicates for a successor.
    pub kept: Vec<Kept>,
    pub stop: watch::Sender<()>,
}

/// A listener that a new configuration asks for, bound and not started.
pub(super) struct New {
    pub name: String,
    pub config: Listener,
    pub sockets: Sockets,
    pub kept: Vec<Kept>,
}

pub(super) enum Sockets {
    Tcp(Bound),
    Dns(Resolver),
}

impl State {
    /// Binds what is new; a listener of the same name and address goes on, whatever its kind.
    pub(super) fn bind(&self, config: &ProxyConfig) -> (Vec<New>, Vec<String>) {
        let (mut new, mut reasons) = (Vec::new(), Vec::new());
        let left = *self.parts.left.borrow();
        for (name, listener) in &config.proxy.listeners {
            if left && listener.kind == ListenerKind::Mesh {
                continue;
            }
            if let Some(open) = self.listeners.get(name)
                && open.config.address == listener.address
                && (open.config == *listener || !(is_dns(&open.config) || is_dns(listener)))
            {
                continue;
            }
            match self.bind_one(name, listener) {
                Ok((sockets, kept)) => {
                    new.push(New { name: name.clone(), config: listener.clone(), sockets, kept })
                }
                Err(error) => {
                    reasons.push(format!("listener `{name}`: cannot bind {}: {error}", listener.address));
                }
            }
        }
        (new, reasons)
    }

    /// The sockets, and duplicates of them for a successor.
    fn bind_one(&self, name: &str, listener: &Listener) -> std::io::Result<(Sockets, Vec<Kept>)> {
        let (address, workers) = (listener.address, self.parts.workers);
        let inherited = |role| self.parts.inherited.sockets(role, name, address);
        if let ListenerKind::Dns { forward } = &listener.kind {
            let (forward, counters) = (forward.clone(), self.parts.telemetry.resolver());
            let (udp, tcp) = (inherited(Role::DnsUdp), inherited(Role::DnsTcp));
            let resolver = match Resolver::inherit(udp, tcp, forward.clone(), counters.clone())? {
                Some(resolver) => resolver,
                None => Resolver::bind(address, forward, counters)?,
            };
            let (udp, tcp) = resolver.duplicates()?;
            let udp = udp.into_iter().map(|socket| Kept::new(Role::DnsUdp, name, address, socket));
            let tcp = tcp.into_iter().map(|socket| Kept::new(Role::DnsTcp, name, address, socket));
            return Ok((Sockets::Dns(resolver), udp.chain(tcp).collect()));
        }
        let bound = match Bound::inherited(inherited(Role::Listener), workers)? {
            Some(bound) => bound,
            None => Bound::tcp(address, workers)?,
        };
        let kept = |socket| Kept::new(Role::Listener, name, address, socket);
        let kept = bound.duplicates()?.into_iter().map(kept).collect();
        Ok((Sockets::Tcp(bound), kept))
    }

    /// Swaps the generation in, starting the workers with the first one.
    pub(super) fn start(
        &mut self,
        next: &Arc<Generation>,
        tls: &Arc<ArcSwapOption<Contexts>>,
    ) -> Result<(), String> {
        if let Some(running) = &self.running {
            running.shared.generation.store(next.clone());
            running.shared.changes.send_modify(|changes| *changes += 1);
            return Ok(());
        }
        let shared = Arc::new(Shared {
            generation: ArcSwap::new(next.clone()),
            changes: watch::Sender::new(0),
            tls: tls.clone(),
            telemetry: self.parts.telemetry.clone(),
            draining: self.parts.draining.clone(),
            leaving: self.parts.draining.told_by(self.parts.left.subscribe()),
            succession: self.parts.succession.clone(),
            listening: self.parts.listening.clone(),
            connections: self.parts.connections,
            patience: self.parts.patience,
        });
        let crew = Crew::start(&shared, self.parts.workers)
            .map_err(|error| format!("cannot start a worker: {error}"))?;
        self.running = Some(Running { shared, crew });
        Ok(())
    }

    /// Starts what was bound, stops what is not named any more.
    pub(super) fn open(&mut self, new: Vec<New>, config: &ProxyConfig, certified: bool) {
        self.listeners.retain(|name, _| config.proxy.listeners.contains_key(name));
        for (name, listener) in &config.proxy.listeners {
            if let Some(open) = self.listeners.get_mut(name) {
                open.config = listener.clone();
            }
        }
        for New { name, config, sockets, kept } in new {
            let (stop, stopped) = watch::channel(());
            let address = sockets.address();
            // A predecessor serves its sockets until this sidecar can do all that it does.
            let waits = config.kind == ListenerKind::Mesh || !self.parts.inherited.is_empty();
            let waiting = if waits && !certified {
                tracing::info!(listener = name, "closed until there is a certificate");
                Some(sockets)
            } else {
                self.serve(&name, sockets, &stopped);
                None
            };
            self.listeners.insert(name, Open { config, address, waiting, kept, stop });
        }
    }

    pub(super) fn open_waiting(&mut self) {
        let waiting: Vec<_> = self
            .listeners
            .iter_mut()
            .filter_map(|(name, open)| Some((name.clone(), open.waiting.take()?, open.stop.subscribe())))
            .collect();
        for (name, sockets, stopped) in waiting {
            self.serve(&name, sockets, &stopped);
        }
    }

    fn serve(&self, name: &str, sockets: Sockets, stopped: &watch::Receiver<()>) {
        let (Some(running), stop) = (&self.running, stopped.clone()) else { return };
        match sockets {
            Sockets::Dns(resolver) => {
                let (names, guard) = (self.names.subscribe(), self.parts.draining.guard());
                let _stopping = self.parts.resolvers.send(Resolving { resolver, names, stop, guard });
            }
            Sockets::Tcp(bound) => match bound.listen() {
                Ok(sockets) => {
                    let listen = |socket| Listen { name: name.into(), socket, stop: stop.clone() };
                    running.crew.listen(sockets.into_iter().map(listen));
                }
                Err(error) => tracing::error!(listener = name, %error, "cannot listen"),
            },
        }
    }
}

impl Sockets {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(bound) => bound.address,
            Self::Dns(resolver) => resolver.address(),
        }
    }
}

fn is_dns(listener: &Listener) -> bool {
    matches!(listener.kind, ListenerKind::Dns { .. })
}
