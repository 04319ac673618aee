//! What is wrong with settings, for a person.

use crate::keys::{Key, Section};

/// Settings that cannot be used: every fault, one on each line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Refused(pub(crate) Vec<String>);

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the code.
    Default,
    /// In the file of this name.
    File(String),
    /// In the environment.
    Environment,
    /// On the command line.
    Flag,
}

impl Origin {
    /// Origin, key and value, each as it was written there.
    pub(crate) fn assignment(&self, section: &Section, key: &Key, value: &str) -> String {
        match self {
            Self::Default => format!("default: {}.{} = {value}", section.name, key.name),
            Self::File(file) => format!("{file}: {}.{} = {value}", section.name, key.name),
            Self::Environment => format!("environment: {}={value}", key.variable),
            Self::Flag => format!("command line: --{} {value}", key.name),
        }
    }

    /// For `--print-settings`.
    pub(crate) fn describe(&self, key: &Key) -> String {
        match self {
            Self::Default => "default".into(),
            Self::File(file) => file.clone(),
            Self::Environment => format!("environment {}", key.variable),
            Self::Flag => format!("flag --{}", key.name),
        }
    }
}

/// A value that cannot be.
pub(crate) fn value_fault(origin: &Origin, section: &Section, key: &Key, value: &str) -> String {
    format!("{}: write {}", origin.assignment(section, key, value), key.write)
}
