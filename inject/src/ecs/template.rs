//! What the added containers look like: data in `templates/ecs`, as entries of `containerDefinitions`, filled in by
//! `build`. Terraform's module reads the same files.

use serde_yaml::{Mapping, Value};

use crate::template::{TemplateError, refuse_ours};

/// Files that a directory of templates may have.
pub const FILES: [&str; 3] = ["sidecar.json", "sidecar-hosts.json", "capture.json"];

const BUILT_IN: [&str; 3] = [
    include_str!("../../../templates/ecs/sidecar.json"),
    include_str!("../../../templates/ecs/sidecar-hosts.json"),
    include_str!("../../../templates/ecs/capture.json"),
];

/// Keys that injection sets, with the way to say it.
const OURS: [(&str, &str); 5] = [
    ("name", "the mesh finds its containers by it"),
    ("image", "give --image instead"),
    ("dependsOn", "it is the order of starting"),
    ("portMappings", "they follow the network mode"),
    ("links", "they are the application's"),
];

/// All templates. The default are the built-in ones.
#[derive(Clone, Debug)]
pub struct Templates {
    pub(super) sidecar: Mapping,
    pub(super) sidecar_hosts: Mapping,
    pub(super) capture: Mapping,
}

impl Default for Templates {
    fn default() -> Self {
        Self::read(&[None; 3]).expect("the built-in templates are read by a test")
    }
}

impl Templates {
    /// Texts in the order of [`FILES`]; none: the built-in one.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn read(texts: &[Option<&str>; 3]) -> Result<Self, TemplateError> {
        let [sidecar, sidecar_hosts, capture] = texts;
        let [a, b, c] = BUILT_IN;
        let [d, e, f] = FILES;
        Ok(Self {
            sidecar: parse(d, sidecar.unwrap_or(a))?,
            sidecar_hosts: parse(e, sidecar_hosts.unwrap_or(b))?,
            capture: parse(f, capture.unwrap_or(c))?,
        })
    }
}

fn parse(file: &str, text: &str) -> Result<Mapping, TemplateError> {
    let fault = |what: String| TemplateError::Parse { file: file.to_owned(), what };
    let value: Value = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
    let Value::Mapping(body) = value else {
        return Err(fault(
            "not an object: write an entry of containerDefinitions, as in templates/ecs".into(),
        ));
    };
    refuse_ours(file, &body, &OURS)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What still runs must be cut by the sidecar, with a reset, and not by ECS.
    #[test]
    fn a_sidecar_has_drained_before_ecs_kills_it() {
        let templates = Templates::default();
        for body in [&templates.sidecar, &templates.sidecar_hosts] {
            let stop = body.get("stopTimeout").and_then(Value::as_u64).unwrap();
            let mut variables = body.get("environment").and_then(Value::as_sequence).unwrap().iter();
            let drain = variables.find(|pair| pair["name"] == "OUTRIGGER_DRAIN_DEADLINE").unwrap();
            let drain: u64 = drain["value"].as_str().unwrap().parse().unwrap();
            assert!(drain + 2 <= stop, "{drain} {stop}");
        }
    }

    #[test]
    fn a_key_that_is_not_the_templates_is_refused() {
        let message = |text| Templates::read(&[Some(text), None, None]).unwrap_err().to_string();
        assert_eq!(
            message(r#"{ "image": "x" }"#),
            "template sidecar.json: image is set by injection (give --image instead): take it out"
        );
        assert!(message("[]").contains("not an object"));
        assert!(message("{").contains("sidecar.json"));
    }
}
