//! What the added services look like: data in `templates/compose`, filled in by `build`.

use serde_yaml::{Mapping, Value};

use outrigger_model::label::PREFIX;

use crate::compose::tree::pairs;
use crate::template::{TemplateError, refuse_ours};

/// Files that a directory of templates may have.
pub const FILES: [&str; 5] =
    ["holder.yaml", "holder-capture.yaml", "sidecar.yaml", "sidecar-names.yaml", "wait.yaml"];

const BUILT_IN: [&str; 5] = [
    include_str!("../../../templates/compose/holder.yaml"),
    include_str!("../../../templates/compose/holder-capture.yaml"),
    include_str!("../../../templates/compose/sidecar.yaml"),
    include_str!("../../../templates/compose/sidecar-names.yaml"),
    include_str!("../../../templates/compose/wait.yaml"),
];

/// Keys that injection sets, with the way to say it.
const OURS: [(&str, &str); 7] = [
    ("image", "give --image instead"),
    ("network_mode", "it is where the service belongs"),
    ("networks", "they are the application's"),
    ("ports", "they are the application's"),
    ("depends_on", "it is the order of starting"),
    ("restart", "it follows the application's"),
    ("profiles", "they are the application's"),
];

/// All templates, as services of a compose file. The default are the built-in ones.
#[derive(Clone, Debug)]
pub struct Templates {
    pub(crate) holder: Mapping,
    pub(crate) holder_capture: Mapping,
    pub(crate) sidecar: Mapping,
    pub(crate) sidecar_names: Mapping,
    pub(crate) wait: Mapping,
}

impl Default for Templates {
    fn default() -> Self {
        Self::read(&[None; 5]).expect("the built-in templates are read by a test")
    }
}

impl Templates {
    /// Texts in the order of [`FILES`]; none: the built-in one. Keys are those of a compose service.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn read(texts: &[Option<&str>; 5]) -> Result<Self, TemplateError> {
        let [holder, holder_capture, sidecar, sidecar_names, wait] = texts;
        let [a, b, c, d, e] = BUILT_IN;
        let [f, g, h, i, j] = FILES;
        Ok(Self {
            holder: parse(f, holder.unwrap_or(a))?,
            holder_capture: parse(g, holder_capture.unwrap_or(b))?,
            sidecar: parse(h, sidecar.unwrap_or(c))?,
            sidecar_names: parse(i, sidecar_names.unwrap_or(d))?,
            wait: parse(j, wait.unwrap_or(e))?,
        })
    }
}

fn parse(file: &str, text: &str) -> Result<Mapping, TemplateError> {
    let fault = |what: String| TemplateError::Parse { file: file.to_owned(), what };
    let value: Value = serde_yaml::from_str(text).map_err(|error| fault(error.to_string()))?;
    let Value::Mapping(body) = value else {
        return Err(fault(
            "not a mapping: write the keys of a compose service, as in templates/compose".into(),
        ));
    };
    refuse_ours(file, &body, &OURS)?;
    if pairs(body.get("labels")).keys().any(|label| label.starts_with(PREFIX)) {
        let key = "labels: outrigger.*";
        return Err(TemplateError::Ours {
            file: file.to_owned(),
            key,
            instead: "they tell the controller what it is",
        });
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::tree::{field, names};

    #[test]
    fn only_the_holder_that_captures_and_the_writer_of_names_have_a_capability() {
        let templates = Templates::default();
        let all = [
            (&templates.holder, "61337:61337", vec![]),
            (&templates.sidecar, "61337:61337", vec![]),
            (&templates.wait, "61337:61337", vec![]),
            (&templates.holder_capture, "0:0", vec!["NET_ADMIN"]),
            (&templates.sidecar_names, "0:0", vec!["SETGID", "SETUID"]),
        ];
        for (body, user, capabilities) in all {
            assert_eq!(field(body, "user").as_deref(), Some(user));
            assert_eq!(names(body.get("cap_drop")), ["ALL"]);
            assert_eq!(names(body.get("cap_add")), capabilities);
            assert_eq!(names(body.get("security_opt")), ["no-new-privileges:true"]);
            assert!(!body.contains_key("privileged"));
        }
    }

    #[test]
    fn a_key_that_is_not_the_templates_is_refused() {
        let message = |text| Templates::read(&[Some(text), None, None, None, None]).unwrap_err().to_string();
        assert_eq!(
            message("image: x"),
            "template holder.yaml: image is set by injection (give --image instead): take it out"
        );
        assert!(message("labels: [ outrigger.managed=holder ]").contains("labels: outrigger.*"));
        assert!(message("[]").contains("not a mapping"));
        assert!(message("a: [").contains("holder.yaml"));
    }
}
