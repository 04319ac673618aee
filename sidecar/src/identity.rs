//! What this workload proves itself with.

use outrigger_wire::SpiffeId;
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
    /// Whom the leaf names.
    pub spiffe: SpiffeId,
    /// The leaf is good from here, Unix seconds.
    pub not_before: u64,
    /// The leaf is good until here, Unix seconds.
    pub not_after: u64,
}
