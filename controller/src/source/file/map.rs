//! Faults of a mesh file to problems, and names in it that nobody has. Pure.

use std::collections::BTreeSet;

use outrigger_model::label::distance;
use outrigger_model::mesh::{Fault, ServiceName};
use outrigger_model::{Mesh, ServiceKey};

use crate::status::Problem;

/// Problems of one file that are told one by one.
const SHOWN: usize = 50;
/// Kind of every problem with the mesh file.
pub const KIND: &str = "mesh-file";

/// Every fault, with its place.
pub fn problems(faults: &[Fault], path: &str) -> BTreeSet<Problem> {
    let problem = |fault: &Fault| {
        let path = if fault.path.is_empty() { String::new() } else { format!("{}: ", fault.path) };
        let what = format!("{path}{}; {}", fault.what, fault.help);
        Problem { kind: KIND, subject: fault.origin.to_string(), what }
    };
    let mut problems: BTreeSet<Problem> = faults.iter().take(SHOWN).map(problem).collect();
    if let Some(more) = faults.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let what = format!("{more} more faults: outrigger check {path} shows them all");
        problems.insert(Problem { kind: KIND, subject: path.to_owned(), what });
    }
    problems
}

/// Services of the file that no workload has and none ever had: probably typing errors. `known` is every service that
/// there is or was.
pub fn strangers<'a>(
    mesh: &Mesh,
    known: impl Iterator<Item = &'a ServiceKey> + Clone,
    path: &str,
) -> BTreeSet<Problem> {
    let is = |name: &ServiceName, key: &ServiceKey| {
        key.service == name.service
            && name.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    };
    let strange = mesh.services().keys().filter(|name| !known.clone().any(|key| is(name, key)));
    strange
        .map(|name| {
            let written = written(name);
            let alike = |key: &ServiceKey| {
                let word = if name.namespace.is_some() { key.to_string() } else { key.service.clone() };
                (distance(&word, &written), word)
            };
            let near = known.clone().map(alike).min().filter(|(distance, _)| *distance <= 3);
            let near = near.map_or_else(
                || "start it, or correct the name".to_owned(),
                |(_, word)| format!("did you mean {word}?"),
            );
            let what = format!("services.{written}: no workload of service {written}; {near}");
            Problem { kind: KIND, subject: path.to_owned(), what }
        })
        .collect()
}

fn written(name: &ServiceName) -> String {
    match &name.namespace {
        Some(namespace) => format!("{}.{namespace}", name.service),
        None => name.service.clone(),
    }
}

#[cfg(test)]
mod tests;
