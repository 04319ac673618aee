//! The part of a runtime that keeps names in the hosts file.

use outrigger_wire::ProxyConfig;

use super::{Runtime, State};
use crate::hosts::Names;

impl Runtime {
    /// Puts the names right that something else took out of the hosts file.
    pub(crate) fn mend_hosts(&self) {
        let mut state = self.state();
        if let Some(names) = state.in_hosts.take() {
            state.keep_hosts(names);
        }
    }

    /// A successor keeps the hosts file from now on: its names stay when this sidecar ends.
    pub(crate) fn hand_over_hosts(&self) {
        self.state().parts.hosts = None;
    }
}

impl State {
    /// Why the hosts file cannot be kept as asked.
    pub(super) fn hosts_refusal(&self, config: &ProxyConfig, names: &Names) -> Option<String> {
        match &self.parts.hosts {
            Some(hosts) => hosts.check(names).err().map(|error| format!("hosts file: {error}")),
            None if config.proxy.hosts && !self.parts.succession.has_begun() => Some(
                "names are to be kept in the hosts file, and this sidecar opened none at its start: recreate the \
                 workload's container, or start the sidecar with OUTRIGGER_HOSTS=/etc/hosts, as uid 0 with the \
                 capabilities SETUID and SETGID"
                    .to_owned(),
            ),
            None => None,
        }
    }

    /// To be called once the listeners are there: a name that resolves is one that can be called.
    pub(super) fn keep_hosts(&mut self, names: Names) {
        if let Some(hosts) = &self.parts.hosts
            && let Err(error) = hosts.keep(&names)
        {
            tracing::error!(%error, "names are not in the hosts file as they should be; it is tried again");
        }
        self.in_hosts = Some(names);
    }

    /// To be called before the listeners go: names would lead to where nobody listens any more. A file that was never
    /// written stays as it is: it may be a predecessor's.
    pub(super) fn empty_hosts(&mut self) {
        if self.in_hosts.is_some() {
            self.keep_hosts(Names::new());
        }
        self.parts.hosts = None;
    }
}
