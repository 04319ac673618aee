//! Injection, one pure function per format: a compose project in, the same project meshed out; an ECS task definition in,
//! the same task definition meshed out. No I/O, the same output for the same input, and injecting the result again changes
//! nothing.

pub mod compose;
pub mod ecs;
mod template;

use std::fmt;

pub use template::TemplateError;

/// One thing said about what is meshed: a reason not to mesh it, or a warning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// Whom it is about; none: the whole.
    pub service: Option<String>,
    /// What it is, and the way out.
    pub what: String,
}

impl Remark {
    pub(crate) fn of(service: &str, what: impl Into<String>) -> Self {
        Self { service: Some(service.to_owned()), what: what.into() }
    }

    pub(crate) fn container(name: &str, what: impl Into<String>) -> Self {
        Self { service: None, what: format!("container {name}: {}", what.into()) }
    }

    pub(crate) fn project(what: impl Into<String>) -> Self {
        Self { service: None, what: what.into() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => write!(f, "service {service}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}
