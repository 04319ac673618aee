//! Mesh file and labels together. A label speaks of its own service only, and never loosens what the file says.

use std::collections::BTreeSet;

use super::{Code, Fault, Mesh, Origin, Said, Service, Severity};
use crate::label::{self, Labels};
use crate::policy::Retries;
use crate::{Declared, Mode, Policy, ServiceKey};

impl Mesh {
    /// The settings of one workload of a service, and what of its labels does not hold, and why. `published`: the ports
    /// that the platform publishes.
    ///
    /// There are always settings: a label that may not stand is left out and the file's word holds, so that a workload
    /// with a fault is never less protected than the file asks. A `mode` or `edge` label that could not be read at all
    /// counts as the closed one (`strict`, `none`) where the file does not say.
    pub fn declare(
        &self,
        key: &ServiceKey,
        labels: &Labels,
        published: &BTreeSet<u16>,
    ) -> (Declared, Vec<Fault>) {
        let file = self.service(key);
        let said = &labels.settings;
        let mut merge = Merge { key, faults: labels.faults.clone() };
        let declared = Declared {
            service: key.service.clone(),
            version: labels.version.clone(),
            weight: labels.weight,
            mode: merge.mode(file.mode.as_ref(), self.mode.as_ref(), labels),
            edge: merge.edge(self, &file, labels, published),
            capture: merge.one("capture", Severity::Error, &file.capture, &said.capture).unwrap_or_default(),
            ports: merge.one("ports", Severity::Warning, &file.ports, &said.ports).unwrap_or_default(),
            app_address: merge.one("app-address", Severity::Warning, &file.app_address, &said.app_address),
            upstreams: merge
                .one("upstreams", Severity::Warning, &file.upstreams, &said.upstreams)
                .unwrap_or_default(),
            proxy_protocol: merge
                .one("proxy-protocol", Severity::Warning, &file.proxy_protocol, &said.proxy_protocol)
                .unwrap_or_default(),
            timeouts: file
                .limits
                .merged(&said.limits, |name, file, label| merge.said(name, Severity::Warning, file, label))
                .or(&self.defaults)
                .timeouts(),
            policy: merge.policy(&file.policy, &said.policy).or(&self.policy),
            rate_limits: merge
                .one("rate-limits", Severity::Warning, &file.rate_limits, &said.rate_limits)
                .unwrap_or_default(),
            routes: file.routes.map(|said| said.value).unwrap_or_default(),
        };
        (declared, merge.faults)
    }
}

struct Merge<'a> {
    key: &'a ServiceKey,
    faults: Vec<Fault>,
}

impl Merge<'_> {
    /// The file's word, else the label's; where both speak and differ, the label is reported.
    fn one<T: Clone + PartialEq>(
        &mut self,
        name: &str,
        severity: Severity,
        file: &Option<Said<T>>,
        label: &Option<Said<T>>,
    ) -> Option<T> {
        self.said(name, severity, file, label).map(|said| said.value)
    }

    /// The same, with the place where it stands.
    fn said<T: Clone + PartialEq>(
        &mut self,
        name: &str,
        severity: Severity,
        file: &Option<Said<T>>,
        label: &Option<Said<T>>,
    ) -> Option<Said<T>> {
        if let (Some(file), Some(label)) = (file, label)
            && file != label
        {
            self.otherwise(name, severity, label.origin.clone(), Some(file.origin.clone()));
        }
        file.as_ref().or(label.as_ref()).cloned()
    }

    fn otherwise(&mut self, name: &str, severity: Severity, label: Origin, file: Option<Origin>) {
        let what = format!("mesh.yaml says otherwise of {}, and stands", self.key);
        self.report(severity, label, what, format!("remove the label, or {name} there"), file);
    }

    /// Of a policy labels say how often a request is sent again, how replicas are picked, and what is asked of them.
    fn policy(&mut self, file: &Policy, label: &Policy) -> Policy {
        let attempts = |policy: &Policy| policy.retries.as_ref().and_then(|retries| retries.attempts);
        let differ = [
            ("retries", attempts(file).zip(attempts(label)).is_some_and(|(file, label)| file != label)),
            (
                "balance",
                file.balance.as_ref().zip(label.balance.as_ref()).is_some_and(|(file, label)| file != label),
            ),
            (
                "health",
                file.check.as_ref().zip(label.check.as_ref()).is_some_and(|(file, label)| file != label),
            ),
        ];
        for (name, _) in differ.into_iter().filter(|(_, differ)| *differ) {
            let label = Origin::Label { label: format!("{}{name}", label::PREFIX).into() };
            self.otherwise(name, Severity::Warning, label, None);
        }
        // A label that cannot be read switches nothing on.
        let read = |retries: &Retries| retries.attempts.is_some();
        file.or(&Policy { retries: label.retries.clone().filter(read), ..label.clone() })
    }

    fn mode(&mut self, file: Option<&Said<Mode>>, wide: Option<&Said<Mode>>, labels: &Labels) -> Mode {
        let label = labels.settings.mode.as_ref();
        if let (Some(label), Some(file)) = (label, file.or(wide))
            && label.value == Mode::Permissive
            && file.value == Mode::Strict
        {
            let what = "permissive would loosen mesh.yaml, which says strict; strict stands".to_owned();
            let help = format!("remove the label, or write mode: permissive for {} in mesh.yaml", self.key);
            self.report(Severity::Error, label.origin.clone(), what, help, Some(file.origin.clone()));
            return Mode::Strict;
        }
        if let (Some(_), Some(_)) = (file, label) {
            return self.one("mode", Severity::Warning, &file.cloned(), &label.cloned()).unwrap_or_default();
        }
        let unreadable = labels.mode_unreadable.then_some(Mode::Strict);
        let said = file.or(label).map(|said| said.value);
        said.or(unreadable).or(wide.map(|said| said.value)).unwrap_or_default()
    }

    /// Where mesh.yaml demands strict and gives no edge, a label may name fewer ports than are published, never others.
    fn edge(
        &mut self,
        mesh: &Mesh,
        file: &Service,
        labels: &Labels,
        published: &BTreeSet<u16>,
    ) -> Option<BTreeSet<u16>> {
        let label = &labels.settings.edge;
        let demanded = file.mode.as_ref().or(mesh.mode.as_ref()).filter(|mode| mode.value == Mode::Strict);
        if let (None, Some(label), Some(strict)) = (&file.edge, label, demanded)
            && !label.value.is_subset(published)
        {
            let more: Vec<String> = label.value.difference(published).map(u16::to_string).collect();
            let what = format!(
                "port {} is not published, and mesh.yaml says strict; the published ports stand",
                more.join(", ")
            );
            let help = format!("write edge for {} in mesh.yaml", self.key);
            self.report(Severity::Error, label.origin.clone(), what, help, Some(strict.origin.clone()));
            return None;
        }
        if file.edge.is_none() && labels.edge_unreadable {
            return Some(BTreeSet::new());
        }
        self.one("edge", Severity::Error, &file.edge, label)
    }

    fn report(
        &mut self,
        severity: Severity,
        origin: Origin,
        what: String,
        help: String,
        other: Option<Origin>,
    ) {
        let (path, found) = (String::new(), String::new());
        self.faults.push(Fault { severity, code: Code::Conflict, origin, path, found, what, help, other });
    }
}
