//! Templates of what injection adds, whatever the format.

use serde_yaml::Mapping;

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read, or is not a mapping.
    #[error("template {file}: {what}")]
    Parse {
        /// The file.
        file: String,
        /// Where and why.
        what: String,
    },
    /// A key that is not the template's to set.
    #[error("template {file}: {key} is set by injection ({instead}): take it out")]
    Ours {
        /// The file.
        file: String,
        /// The key.
        key: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

/// # Errors
/// The template says one of the keys that injection sets.
pub fn refuse_ours(
    file: &str,
    body: &Mapping,
    ours: &[(&'static str, &'static str)],
) -> Result<(), TemplateError> {
    match ours.iter().find(|(key, _)| body.contains_key(*key)) {
        Some((key, instead)) => Err(TemplateError::Ours { file: file.to_owned(), key, instead }),
        None => Ok(()),
    }
}
