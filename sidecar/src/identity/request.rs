use std::time::SystemTime;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{Identity, IdentityError};

/// A key that waits for its certificate. It never leaves this process but to its own state directory.
pub struct Request {
    key: KeyPair,
    csr: Vec<u8>,
}

impl Request {
    /// Makes an ECDSA P-256 key and signs a request with it. The request names nobody: the controller
    /// knows who asks.
    ///
    /// # Errors
    /// No random numbers, or signing failed.
    pub fn new() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut nobody = CertificateParams::default();
        nobody.distinguished_name = DistinguishedName::new();
        let csr = nobody.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, csr })
    }

    /// The request, PKCS #10 in DER.
    pub fn csr(&self) -> &[u8] {
        &self.csr
    }

    /// The identity that a signed `chain` (DER, leaf first) makes of this key.
    ///
    /// # Errors
    /// The chain is not for this key, does not lead to `roots`, is not good at `now`, or names no workload.
    pub fn signed(
        &self,
        chain: Vec<Vec<u8>>,
        roots: Vec<Vec<u8>>,
        now: SystemTime,
    ) -> Result<Identity, IdentityError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let certificates = |ders: Vec<Vec<u8>>| ders.into_iter().map(CertificateDer::from).collect();
        Identity::new(key, certificates(chain), certificates(roots), now)
    }
}
