//! What this workload proves itself with.

use std::path::{Path, PathBuf};

use outrigger_wire::SpiffeId;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use crate::tls::{WrongIdentity, spiffe_id};

/// A private key, its certificate chain and the roots that peers are checked against.
#[derive(Debug)]
pub struct Identity {
    /// The key of the first certificate in `chain`.
    pub key: PrivateKeyDer<'static>,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Roots of the trust domain.
    pub roots: Vec<CertificateDer<'static>>,
    /// Whom the leaf names.
    pub spiffe: SpiffeId,
    /// The leaf is good from here, Unix seconds.
    pub not_before: u64,
    /// The leaf is good until here, Unix seconds.
    pub not_after: u64,
}

/// Why there is no identity to be had from what was given.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is not PEM of what it should hold.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: pem::Error,
    },
    /// There is no certificate.
    #[error("there is no certificate")]
    Missing,
    /// The leaf does not name one workload of the mesh.
    #[error(transparent)]
    NotSpiffe(#[from] WrongIdentity),
}

impl Identity {
    /// Reads `key.pem`, `chain.pem` and `roots.pem` in `directory`, for a sidecar without a controller.
    ///
    /// # Errors
    /// A file is missing or not PEM, or what they hold does not fit together.
    pub fn from_directory(directory: &Path) -> Result<Self, IdentityError> {
        let at = |name: &str| directory.join(name);
        let key = PrivateKeyDer::from_pem_file(at("key.pem"))
            .map_err(|source| IdentityError::Pem { path: at("key.pem"), source })?;
        let read = |name: &str| {
            CertificateDer::pem_file_iter(at(name))
                .and_then(Iterator::collect)
                .map_err(|source| IdentityError::Pem { path: at(name), source })
        };
        let (chain, roots): (Vec<CertificateDer<'static>>, _) = (read("chain.pem")?, read("roots.pem")?);
        let leaf = chain.first().ok_or(IdentityError::Missing)?;
        let spiffe = spiffe_id(leaf)?;
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| IdentityError::Missing)?;
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
        let validity = parsed.validity();
        let (not_before, not_after) = (seconds(validity.not_before), seconds(validity.not_after));
        Ok(Self { key, chain, roots, spiffe, not_before, not_after })
    }
}
