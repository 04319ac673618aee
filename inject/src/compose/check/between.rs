//! What services can be refused for because of each other.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::Capture;

use super::Candidate;
use super::service::on_loopback;
use crate::Remark;
use crate::compose::part::{Part, replicas};
use crate::compose::port::targets;
use crate::compose::project::{Kind, Survey};

/// All clashes, in the order of the services.
pub fn clashes(candidates: &[Candidate<'_>], survey: &Survey) -> Vec<Remark> {
    let mut found = Vec::new();
    for candidate in candidates {
        found.extend(names(candidate, survey));
        found.extend(ports(candidate, candidates));
    }
    found.extend(claims(candidates));
    found
}

/// Services of the project that have a name which injection would give.
fn names(candidate: &Candidate<'_>, survey: &Survey) -> Vec<Remark> {
    let app = candidate.service.name;
    let mut taken = Vec::new();
    for replica in replicas(app, candidate.replicas) {
        let parts = Part::ALL.map(|part| part.beside(&replica));
        let copy = (replica != app).then(|| replica.clone());
        taken.extend(copy.into_iter().chain(parts).filter(|name| survey.has(name)));
    }
    let refuse = |name: String| {
        let what = match survey.kind_of(&name) {
            Kind::Part(_) | Kind::Done => {
                format!(
                    "{name} was made for it by an earlier injection, and {app} has changed since: inject the original file"
                )
            }
            _ => format!(
                "the service {name} has the name that injection would give to a part of {app}: rename it"
            ),
        };
        Remark::of(app, what)
    };
    taken.into_iter().map(refuse).collect()
}

/// Under `names` the sidecar listens on the ports of others, at their virtual addresses; an application that listens on
/// the same port at all addresses would shut it out.
fn ports(candidate: &Candidate<'_>, candidates: &[Candidate<'_>]) -> Vec<Remark> {
    if candidate.declared.capture != Capture::Names || on_loopback(&candidate.declared) {
        return Vec::new();
    }
    let own = served(candidate);
    let others = candidates.iter().filter(|other| other.declared.service != candidate.declared.service);
    let mut clashes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for other in others {
        for port in served(other).intersection(&own) {
            clashes.entry(*port).or_default().push(&other.declared.service);
        }
    }
    let refuse = |(port, others): (u16, Vec<&str>)| {
        let others = others.join(" and ");
        let what = format!(
            "listens on port {port}, as {others} does, so that with capture `names` its sidecar cannot stand there for {others}: have the \
             application listen on 127.0.0.1 (outrigger.app-address: 127.0.0.1), or on another port, or take outrigger.capture \
             explicit or transparent"
        );
        Remark::of(candidate.service.name, what)
    };
    clashes.into_iter().map(refuse).collect()
}

fn served(candidate: &Candidate<'_>) -> BTreeSet<u16> {
    let mut served = targets(&candidate.ports);
    served.extend(candidate.declared.ports.keys());
    served
}

/// Two compose services of one name are one service only where each says which version of it it is.
fn claims(candidates: &[Candidate<'_>]) -> Vec<Remark> {
    let mut claims: BTreeMap<&str, Vec<&Candidate<'_>>> = BTreeMap::new();
    for candidate in candidates {
        claims.entry(&candidate.declared.service).or_default().push(candidate);
    }
    let mut found = Vec::new();
    for (name, claims) in claims.into_iter().filter(|(_, claims)| claims.len() > 1) {
        let versions: BTreeSet<_> =
            claims.iter().filter_map(|claim| claim.declared.version.as_ref()).collect();
        if versions.len() < claims.len() {
            let names: Vec<&str> = claims.iter().map(|claim| claim.service.name).collect();
            found.push(Remark::project(format!(
                "the services {} all claim the name {name}: give each its own outrigger.version if they are versions of one service, \
                 else another outrigger.service",
                names.join(" and ")
            )));
        }
    }
    found
}
