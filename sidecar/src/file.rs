//! Configuration and identity from files, for a sidecar without a controller. The very same runtime runs them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_wire::ProxyConfig;
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::identity::{Identity, IdentityError};
use crate::runtime::Runtime;

/// Files that a sidecar runs from.
#[derive(Clone, Debug)]
pub struct Files {
    /// A [`ProxyConfig`] as YAML.
    pub config: PathBuf,
    /// Directory of `key.pem`, `chain.pem` and `roots.pem`; none: mesh listeners stay closed.
    pub identity: Option<PathBuf>,
}

/// Why files cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The configuration cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration is not what it should be.
    #[error("{path}:{line}:{column}: {what}\n  docs/static-config.md shows a whole file")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// From 1; 0 where the parser cannot tell.
        line: usize,
        /// From 1; 0 where the parser cannot tell.
        column: usize,
        /// What is wrong, and what is expected.
        what: String,
    },
    /// The configuration refers to nothing.
    #[error("{path}: {what}")]
    Reference {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// The identity cannot be read.
    #[error("identity: {0}")]
    Identity(#[from] IdentityError),
    /// It was not applied.
    #[error("{path}: {}", reasons.join("; "))]
    Apply {
        /// The file.
        path: PathBuf,
        /// Why.
        reasons: Vec<String>,
    },
}

/// What files hold.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: ProxyConfig,
    /// The identity.
    pub identity: Option<Arc<Identity>>,
}

impl Files {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn load(&self) -> Result<Loaded, FileError> {
        let path = || self.config.clone();
        let text = std::fs::read_to_string(&self.config)
            .map_err(|source| FileError::Read { path: path(), source })?;
        let config = parse(&self.config, &text)?;
        config.check().map_err(|error| FileError::Reference { path: path(), what: error.to_string() })?;
        let identity = self.identity.as_deref().map(Identity::from_directory).transpose()?.map(Arc::new);
        Ok(Loaded { config, identity })
    }

    /// Runs what the files hold.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn apply(
        &self,
        loaded: Loaded,
        runtime: &Runtime,
        identity: &watch::Sender<Option<Arc<Identity>>>,
    ) -> Result<(), FileError> {
        let reasons = runtime.apply(loaded.config);
        reasons.map_err(|reasons| FileError::Apply { path: self.config.clone(), reasons })?;
        identity.send_replace(loaded.identity);
        Ok(())
    }

    /// Reads the files anew at each signal; what cannot be used is logged, and what ran before runs on.
    pub async fn follow(
        self,
        mut reload: Signal,
        runtime: Runtime,
        identity: watch::Sender<Option<Arc<Identity>>>,
    ) {
        while reload.recv().await.is_some() {
            match self.load().and_then(|loaded| self.apply(loaded, &runtime, &identity)) {
                Ok(()) => tracing::info!("files read anew"),
                Err(error) => tracing::error!(%error, "files not applied"),
            }
        }
    }
}

/// Parses a configuration.
fn parse(path: &Path, text: &str) -> Result<ProxyConfig, FileError> {
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        // The parser ends its message with the place, which stands at the front already.
        let what = error.to_string();
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what).to_owned();
        FileError::Yaml { path: path.to_owned(), line, column, what }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_place_and_what_to_write() {
        let table = [
            ("proxy: []", "x.yaml:1:8: proxy: invalid type: sequence"),
            ("proxy:\n  identity: someone\n  workload: a\n  listeners: {}", "spiffe://<trust-domain>"),
            (
                "proxy:\n  identity: spiffe://a/b/c\n  workload: a\n  listener: {}",
                "unknown field `listener`, expected one of",
            ),
            (
                "proxy:\n  identity: spiffe://a/b/c\n  workload: a\n  listeners: {}\n  mode: loose",
                "permissive",
            ),
        ];
        for (text, expected) in table {
            let error = parse(Path::new("x.yaml"), text).unwrap_err().to_string();
            assert!(error.starts_with("x.yaml:") && error.contains(expected), "{text}\n{error}");
        }
    }
}
