//! What a workload proves itself with: a key made here, a certificate from the controller, and the
//! roots that peers are checked against.

mod renewal;
mod request;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_wire::SpiffeId;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use crate::state::{IDENTITY, ROOTS, State, StateError};
use crate::tls::{WrongIdentity, spiffe_id};

pub use renewal::Renewal;
pub use request::Request;

/// A private key, its certificate chain and the roots that peers are checked against. The key fits the
/// chain, and the chain leads to a root.
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
    /// A file of the state directory cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file is not PEM of what it should hold.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate, or no root.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// Key and certificate are not a pair, the chain does not lead to a root, or it is not good now.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The roots are not certificates.
    #[error("the roots cannot be used: {0}")]
    Roots(#[from] rustls::client::VerifierBuilderError),
    /// The leaf does not name one workload of the mesh.
    #[error(transparent)]
    NotSpiffe(#[from] WrongIdentity),
    /// The key could not be made, or its request not be signed.
    #[error("no key could be made: {0}")]
    Key(#[from] rcgen::Error),
}

impl Identity {
    /// Puts an identity together and checks it: the key is the leaf's, the chain leads to a root and is
    /// good at `now`, the leaf names one workload.
    ///
    /// # Errors
    /// What of that does not hold.
    pub fn new(
        key: PrivateKeyDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        roots: Vec<CertificateDer<'static>>,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        let (leaf, above) = chain.split_first().ok_or(IdentityError::Missing("certificate"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider)?;
        let mut trusted = rustls::RootCertStore::empty();
        for root in &roots {
            trusted.add(root.clone())?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(trusted.into(), provider).build()?;
        let at = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        verifier.verify_client_cert(leaf, above, at)?;
        let spiffe = spiffe_id(leaf)?;
        let (not_before, not_after) = validity(leaf).ok_or(IdentityError::Missing("certificate"))?;
        Ok(Self { key, chain, roots, spiffe, not_before, not_after })
    }

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
        Self::new(key, read("chain.pem")?, read("roots.pem")?, SystemTime::now())
    }

    /// What an earlier run stored; `None` if nothing is stored.
    ///
    /// # Errors
    /// It is there and cannot be used any more (expired, another root) or at all.
    pub fn load(state: &State, now: SystemTime) -> Result<Option<Self>, IdentityError> {
        let (Some(own), Some(roots)) = (state.read(IDENTITY)?, state.read(ROOTS)?) else { return Ok(None) };
        let bad = |name: &str| {
            let path = state.path(name);
            move |source| IdentityError::Pem { path, source }
        };
        let key = PrivateKeyDer::from_pem_slice(&own).map_err(bad(IDENTITY))?;
        let chain = CertificateDer::pem_slice_iter(&own).collect::<Result<_, _>>().map_err(bad(IDENTITY))?;
        let roots = CertificateDer::pem_slice_iter(&roots).collect::<Result<_, _>>().map_err(bad(ROOTS))?;
        Self::new(key, chain, roots, now).map(Some)
    }

    /// Stores the identity for [`Identity::load`]. Key and chain share a file, so that they always fit.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub fn store(&self, state: &State) -> Result<(), StateError> {
        let certificate = |der: &CertificateDer<'_>| pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()));
        let roots: String = self.roots.iter().map(certificate).collect();
        state.write(ROOTS, roots.as_bytes())?;
        let mut own = pem::encode(&pem::Pem::new("PRIVATE KEY", self.key.secret_der().to_vec()));
        own.extend(self.chain.iter().map(certificate));
        state.write(IDENTITY, own.as_bytes())
    }

    /// True while the leaf is good at `now`.
    pub fn good_at(&self, now: SystemTime) -> bool {
        now < UNIX_EPOCH + Duration::from_secs(self.not_after)
    }
}

/// From when until when, Unix seconds; `None` if it is no certificate.
pub(crate) fn validity(der: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let (_, leaf) = parse_x509_certificate(der).ok()?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
    Some((seconds(leaf.validity().not_before)?, seconds(leaf.validity().not_after)?))
}

#[cfg(test)]
mod tests;
