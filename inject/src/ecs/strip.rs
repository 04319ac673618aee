//! Takes out what an earlier injection added, whichever template it had; and the Envoy of AWS App Mesh.

use outrigger_model::label::MANAGED;
use serde_yaml::{Mapping, Value};

use super::notes::{INJECTED, Notes};
use super::{CAPTURE, RUN, SIDECAR};
use crate::Remark;

/// # Errors
/// The note of what was changed cannot be read.
pub fn strip(body: &mut Mapping) -> Result<(), Remark> {
    let Some(notes) = containers(body).find(|container| is_ours(container)).map(|container| {
        let label =
            container.get("dockerLabels").and_then(|labels| labels.get(INJECTED)).and_then(Value::as_str);
        Notes::read(label)
    }) else {
        return Ok(());
    };
    let notes = notes.ok_or_else(|| {
        Remark::container(SIDECAR, format!("dockerLabels.{INJECTED} is not what an injection wrote: begin from the definition without the mesh"))
    })?;
    remove(body, &[SIDECAR, CAPTURE]);
    if let Some(Value::Sequence(volumes)) = body.get_mut("volumes") {
        let before = volumes.len();
        volumes.retain(|volume| volume.get("name").and_then(Value::as_str) != Some(RUN));
        if volumes.is_empty() && before > 0 {
            body.shift_remove("volumes");
        }
    }
    if proxy_of(body).as_deref() == Some(SIDECAR) {
        body.remove("proxyConfiguration");
    }
    notes.restore(body);
    Ok(())
}

/// The sidecar is there.
pub fn is_meshed(body: &Mapping) -> bool {
    containers(body).any(is_ours)
}

/// The container that the platform redirects to, and all that names it. X-Ray and other containers stay.
pub fn app_mesh(body: &mut Mapping) {
    if let Some(envoy) = proxy_of(body) {
        body.remove("proxyConfiguration");
        remove(body, &[&envoy]);
    }
}

fn proxy_of(body: &Mapping) -> Option<String> {
    body.get("proxyConfiguration")?.get("containerName")?.as_str().map(str::to_owned)
}

/// Removes containers, and what others say about them.
fn remove(body: &mut Mapping, names: &[&str]) {
    let is = |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|name| names.contains(&name));
    let Some(Value::Sequence(all)) = body.get_mut("containerDefinitions") else { return };
    all.retain(|container| !is(container.get("name")));
    for container in all.iter_mut().filter_map(Value::as_mapping_mut) {
        for (key, field) in
            [("dependsOn", Some("containerName")), ("volumesFrom", Some("sourceContainer")), ("links", None)]
        {
            let Some(Value::Sequence(items)) = container.get_mut(key) else { continue };
            let before = items.len();
            items.retain(|item| match field {
                Some(field) => !is(item.get(field)),
                None => !is(Some(item)),
            });
            if items.is_empty() && before > 0 {
                container.shift_remove(key);
            }
        }
    }
}

fn containers(body: &Mapping) -> impl Iterator<Item = &Mapping> {
    body.get("containerDefinitions")
        .and_then(Value::as_sequence)
        .into_iter()
        .flatten()
        .filter_map(Value::as_mapping)
}

fn is_ours(container: &Mapping) -> bool {
    container.get("name").and_then(Value::as_str) == Some(SIDECAR)
        && container.get("dockerLabels").is_some_and(|labels| labels.get(MANAGED).is_some())
}
