//! What this workload proves itself with.

use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A private key, its certificate chain and the roots that peers are checked against.
#[derive(Debug)]
pub struct Identity {
    /// The key of the first certificate in `chain`.
    pub key: PrivateKeyDer<'static>,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Roots of the trust domain.
    pub roots: Vec<CertificateDer<'static>>,
    /// The leaf is good from here.
    pub not_before: SystemTime,
    /// The leaf is good until here.
    pub not_after: SystemTime,
}
