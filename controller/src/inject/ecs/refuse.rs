//! Services that the controller does not move, each with the way out.

use super::view::{Revision, Service, TAG, Wish, last_part};

/// Beginning of the tags that CloudFormation sets.
const STACK: &str = "aws:cloudformation:";

/// Why not, whatever its revision.
pub fn service(service: &Service) -> Option<String> {
    if let Wish::Unclear(value) = service.wish() {
        return Some(format!("tag {TAG}: {value}: write true, or dry-run, or take it off"));
    }
    if let Some((_, stack)) = service.tags.iter().find(|(tag, _)| *tag == &format!("{STACK}stack-name")) {
        return Some(format!(
            "CloudFormation (stack {stack}) owns it, and would take the mesh out with its next update: mesh the definition in \
             the template (`outrigger inject ecs`), and take the tag off"
        ));
    }
    if service.tags.keys().any(|tag| tag.starts_with(STACK)) {
        return Some(
            "CloudFormation owns it, and would take the mesh out with its next update: mesh the definition in the template \
             (`outrigger inject ecs`), and take the tag off"
                .into(),
        );
    }
    if service.controller != "ECS" {
        return Some(format!(
            "its deployment controller is {}, through which alone its revisions come: mesh the definition before it is \
             deployed (`outrigger inject ecs` in the pipeline), and take the tag off",
            service.controller
        ));
    }
    if service.strategy != "ROLLING" {
        return Some(format!(
            "its deployment strategy is {}, which shifts traffic by its own steps: mesh the definition before it is deployed \
             (`outrigger inject ecs` in the pipeline), and take the tag off",
            service.strategy
        ));
    }
    if service.daemon {
        return Some(
            "it is a daemon service: ECS stops its task on an instance before the new one starts, and there is no earlier one to \
             return to meanwhile: deploy the meshed definition yourself (`outrigger inject ecs`), and take the tag off"
                .into(),
        );
    }
    if service.classic {
        return Some(
            "it is behind a classic load balancer, where ECS has no circuit breaker: take an application or network load \
             balancer, or deploy the meshed definition yourself (`outrigger inject ecs`)"
                .into(),
        );
    }
    service.connect.then(|| {
        "ECS Service Connect is on, and its proxy and the sidecar would take the same traffic: switch it off in the service \
         (serviceConnectConfiguration.enabled: false) first"
            .into()
    })
}

/// What `inject` refuses.
pub fn unmeshable(revision: &Revision) -> String {
    let reasons = revision.refused.join("; ");
    if revision.meshed {
        format!("it keeps its sidecar as it is, and cannot be meshed anew: {reasons}")
    } else {
        format!("it cannot be meshed: {reasons}")
    }
}

/// A revision that did not become healthy.
pub fn failed(definition: &str, revision: &Revision, why: &str) -> String {
    let was = if revision.meshed {
        format!("was to get a new revision ({}) that", revision.news.join("; "))
    } else {
        "was meshed and".into()
    };
    format!(
        "{} {was} did not become healthy, so it runs as it was: {why}. The stopped tasks of the service tell more. \
         Deploy another revision, or take the tag off and set it again a minute later, for another try{}",
        last_part(definition),
        if revision.meshed { "; another sidecar image is tried too" } else { "" }
    )
}

/// AWS did not let it be moved.
pub fn denied(why: &str) -> String {
    format!("{why}; it is tried again every minute, and the others come first")
}

/// The newer sidecar failed in others.
pub fn kept(revision: &Revision, failed: &[String]) -> String {
    format!(
        "it would get a new revision ({}), which did not become healthy in {}: it keeps what it has. Mend it, and give the \
         controller another image; or tag these services {TAG} = dry-run, where the fault is theirs",
        revision.news.join("; "),
        failed.join(" and ")
    )
}

/// Somebody puts it back again and again.
pub fn drift(definition: &str) -> String {
    format!(
        "something deploys {} again each time that it was moved from it (Terraform without `ignore_changes = [task_definition]`, a \
         pipeline): it is left as it is. Mesh the definition there (`outrigger inject ecs`, terraform/modules/inject), or have it \
         leave the revision alone, then deploy once more or set the tag anew",
        last_part(definition)
    )
}
