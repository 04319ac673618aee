//! What injected containers look like: data in `templates/docker`, filled in here.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use bollard::models::ContainerCreateBody;
use outrigger_model::Capture;
use outrigger_model::label::{MANAGED, MESH};
use serde_json::Value;

use crate::scope::{INSTANCE, WORKLOAD};

const SIDECAR: (&str, &str) = ("sidecar.yaml", include_str!("../../../templates/docker/sidecar.yaml"));
const NAMES: (&str, &str) =
    ("sidecar-names.yaml", include_str!("../../../templates/docker/sidecar-names.yaml"));
const CAPTURE: (&str, &str) = ("capture.yaml", include_str!("../../../templates/docker/capture.yaml"));

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file is there and cannot be read.
    #[error("template {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not YAML, or not the type that a key asks for.
    #[error("template {file}: {what}")]
    Parse {
        /// The file.
        file: String,
        /// Where and why.
        what: String,
    },
    /// A key that the Docker Engine API does not have.
    #[error(
        "template {file}: unknown key {key}: keys are those of POST /containers/create, written as there"
    )]
    Unknown {
        /// The file.
        file: String,
        /// Its path.
        key: String,
    },
    /// A key that is not the template's to set.
    #[error("template {file}: {key} is set by the controller: take it out")]
    Ours {
        /// The file.
        file: String,
        /// Its path.
        key: &'static str,
    },
}

/// All templates.
#[derive(Clone, Debug)]
pub struct Templates {
    sidecar: ContainerCreateBody,
    names: ContainerCreateBody,
    capture: ContainerCreateBody,
}

/// What is filled in.
#[derive(Clone, Debug)]
pub struct Filling<'a> {
    /// The mesh.
    pub mesh: &'a str,
    /// Id of the application's container.
    pub workload: &'a str,
    /// The run of it that is joined.
    pub instance: &'a str,
    /// Image of sidecar and capture step.
    pub image: &'a str,
    /// Volume name or host path of the control socket's directory, and where it goes.
    pub control: (&'a str, &'a str),
    /// Further environment of the sidecar.
    pub env: &'a [String],
}

impl Templates {
    /// Reads them from `directory`; a file that is not there, or no directory, means the built-in one.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn load(directory: Option<&Path>) -> Result<Self, TemplateError> {
        Ok(Self {
            sidecar: load(directory, SIDECAR)?,
            names: load(directory, NAMES)?,
            capture: load(directory, CAPTURE)?,
        })
    }

    /// The body of a sidecar.
    pub fn sidecar(&self, capture: Capture, with: &Filling<'_>) -> ContainerCreateBody {
        let template = if capture == Capture::Names { &self.names } else { &self.sidecar };
        let mut body = filled(template, "sidecar", with);
        let (source, target) = with.control;
        let bind = format!("{source}:{target}:ro");
        body.host_config.get_or_insert_default().binds.get_or_insert_default().push(bind);
        body.env.get_or_insert_default().extend_from_slice(with.env);
        body
    }

    /// The body of a capture step.
    pub fn capture(&self, with: &Filling<'_>) -> ContainerCreateBody {
        filled(&self.capture, "capture", with)
    }
}

fn filled(template: &ContainerCreateBody, kind: &str, with: &Filling<'_>) -> ContainerCreateBody {
    let mut body = template.clone();
    body.image = Some(with.image.to_owned());
    let labels: HashMap<String, String> =
        [(MANAGED, kind), (MESH, with.mesh), (WORKLOAD, with.workload), (INSTANCE, with.instance)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    body.labels.get_or_insert_default().extend(labels);
    let host = body.host_config.get_or_insert_default();
    host.network_mode = Some(format!("container:{}", with.workload));
    body
}

fn load(
    directory: Option<&Path>,
    (name, built_in): (&str, &str),
) -> Result<ContainerCreateBody, TemplateError> {
    let path = directory.map(|directory| directory.join(name)).filter(|path| path.exists());
    let file = path.as_ref().map_or_else(|| name.to_owned(), |path| path.display().to_string());
    let text = match &path {
        None => built_in.to_owned(),
        Some(path) => {
            fs::read_to_string(path).map_err(|source| TemplateError::Read { file: file.clone(), source })?
        }
    };
    parse(&text, &file)
}

fn parse(text: &str, file: &str) -> Result<ContainerCreateBody, TemplateError> {
    let fault = |what: String| TemplateError::Parse { file: file.to_owned(), what };
    let value: Value = serde_yaml::from_str(text).map_err(|error| fault(error.to_string()))?;
    let body: ContainerCreateBody =
        serde_json::from_value(value.clone()).map_err(|error| fault(error.to_string()))?;
    // The generated types drop what they do not know: what is not in the body read back was not understood.
    let understood = serde_json::to_value(&body).map_err(|error| fault(error.to_string()))?;
    if let Some(key) = lost(&value, &understood, "") {
        return Err(TemplateError::Unknown { file: file.to_owned(), key });
    }
    let host = body.host_config.clone().unwrap_or_default();
    let own_label =
        body.labels.iter().flatten().any(|(key, _)| key.starts_with(outrigger_model::label::PREFIX));
    let ours = [
        ("Image", body.image.is_some()),
        ("Labels: outrigger.*", own_label),
        ("HostConfig.NetworkMode", host.network_mode.is_some()),
    ];
    match ours.into_iter().find(|(_, set)| *set) {
        Some((key, _)) => Err(TemplateError::Ours { file: file.to_owned(), key }),
        None => Ok(body),
    }
}

/// The first key of `written` that is not in `understood`.
fn lost(written: &Value, understood: &Value, path: &str) -> Option<String> {
    let Value::Object(written) = written else { return None };
    let ordered: BTreeMap<_, _> = written.iter().filter(|(_, value)| !value.is_null()).collect();
    ordered.into_iter().find_map(|(key, value)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match understood.get(key) {
            None => Some(path),
            Some(inner) => lost(value, inner, &path),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with() -> Filling<'static> {
        Filling {
            mesh: "shop",
            workload: "abc",
            instance: "2026-11-23T09:42:30Z",
            image: "outrigger-sidecar:1",
            control: ("shop_control", "/run/outrigger"),
            env: &[],
        }
    }

    #[test]
    fn the_running_sidecar_has_no_privilege_and_the_capture_step_only_one() {
        let templates = Templates::load(None).unwrap();
        let (sidecar, capture) =
            (templates.sidecar(Capture::Transparent, &with()), templates.capture(&with()));
        assert_eq!(sidecar.user.as_deref(), Some("61337:61337"));
        for (body, add) in [(&sidecar, None), (&capture, Some(vec!["NET_ADMIN".to_owned()]))] {
            let host = body.host_config.as_ref().unwrap();
            assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
            assert_eq!(host.cap_add, add);
            assert_eq!(host.readonly_rootfs, Some(true));
            assert_eq!(host.auto_remove, Some(true));
            assert_eq!(host.security_opt, Some(vec!["no-new-privileges:true".to_owned()]));
            assert_eq!(host.network_mode.as_deref(), Some("container:abc"));
            assert_eq!(host.privileged, None);
        }
        assert_eq!(
            sidecar.host_config.unwrap().binds,
            Some(vec!["shop_control:/run/outrigger:ro".to_owned()])
        );
        assert_eq!(sidecar.labels.unwrap()["outrigger.managed"], "sidecar");
        assert_eq!(capture.cmd.unwrap()[..2], ["capture", "--listening"]);
    }

    #[test]
    fn the_sidecar_of_names_differs_only_by_what_the_hosts_file_needs() {
        let templates = Templates::load(None).unwrap();
        let plain = templates.sidecar(Capture::Transparent, &with());
        assert_eq!(templates.sidecar(Capture::Explicit, &with()), plain);
        let mut names = templates.sidecar(Capture::Names, &with());
        assert_eq!(names.user.replace("61337:61337".into()).as_deref(), Some("0:0"));
        assert_eq!(names.env.replace(Vec::new()), Some(vec!["OUTRIGGER_HOSTS=/etc/hosts".to_owned()]));
        let host = names.host_config.as_mut().unwrap();
        assert_eq!(host.cap_add.take(), Some(vec!["SETUID".to_owned(), "SETGID".to_owned()]));
        assert_eq!(host.readonly_rootfs.replace(true), Some(false));
        assert_eq!(names, plain);
    }

    #[test]
    fn a_key_that_is_not_the_apis_or_not_the_templates_is_refused() {
        let message = |text| parse(text, "x.yaml").unwrap_err().to_string();
        assert!(
            message("User: \"1\"\nHostConfig: { CapDropp: [ALL] }")
                .contains("unknown key HostConfig.CapDropp")
        );
        assert!(message("user: \"1\"").contains("unknown key user"));
        assert!(message("Image: x").contains("set by the controller"));
        assert!(message("HostConfig: { NetworkMode: host }").contains("NetworkMode"));
        assert!(message("User: [").contains("x.yaml"));
    }
}
