//! Who a peer is: the chain leads to a root of the mesh, and the leaf carries exactly one URI, a SPIFFE id
//! (X509-SVID, section 2). DNS names and subjects say nothing here.

use std::fmt;
use std::sync::Arc;

use outrigger_wire::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// Why a certificate does not prove the identity asked for.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongIdentity {
    /// There is none.
    #[error("no certificate")]
    Missing,
    /// It cannot be read.
    #[error("certificate that cannot be read")]
    Unreadable,
    /// None or several URIs.
    #[error("certificate with {0} URI names where exactly one is asked for")]
    Uris(usize),
    /// The URI is not a SPIFFE id of ours.
    #[error("certificate of `{0}`, which is not a SPIFFE id")]
    NotSpiffe(String),
    /// It has expired, or is of the future.
    #[error("certificate of {0}, which is not good at this time")]
    NotGood(SpiffeId),
    /// Somebody else.
    #[error("certificate of {found} where {expected} was called")]
    Other {
        /// Who it is.
        found: SpiffeId,
        /// Who it should be.
        expected: SpiffeId,
    },
    /// Another trust domain.
    #[error("certificate of {found}, which is outside the trust domain {expected}")]
    Domain {
        /// Who it is.
        found: SpiffeId,
        /// The own trust domain.
        expected: String,
    },
}

/// rustls shows the reasons of verifiers in their debug form, and people read them.
impl fmt::Debug for WrongIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SPIFFE id of a certificate.
///
/// # Errors
/// See [`WrongIdentity`].
pub fn spiffe_id(certificate: &CertificateDer<'_>) -> Result<SpiffeId, WrongIdentity> {
    match uris(certificate)?.as_slice() {
        [uri] => SpiffeId::try_from(uri.clone()).map_err(|_| WrongIdentity::NotSpiffe(uri.clone())),
        several => Err(WrongIdentity::Uris(several.len())),
    }
}

/// The URIs among the names of a certificate.
pub(super) fn uris(certificate: &CertificateDer<'_>) -> Result<Vec<String>, WrongIdentity> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| WrongIdentity::Unreadable)?;
    let names = parsed.subject_alternative_name().map_err(|_| WrongIdentity::Unreadable)?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None })
        .collect())
}

/// A verifier's refusal, with its reason.
pub(super) fn refuse(reason: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(reason))).into()
}

/// Checks whom we call: one certain identity.
#[derive(Debug)]
pub(super) struct Callee {
    expected: SpiffeId,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Callee {
    pub(super) fn new(expected: SpiffeId, roots: Arc<RootCertStore>, provider: &CryptoProvider) -> Self {
        Self { expected, roots, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Callee {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        let found = spiffe_id(end_entity).map_err(refuse)?;
        if found == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refuse(WrongIdentity::Other { found, expected: self.expected.clone() }))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks who calls: anybody of the own trust domain.
#[derive(Debug)]
pub(super) struct Caller {
    trust_domain: String,
    chain: Arc<dyn ClientCertVerifier>,
}

impl Caller {
    pub(super) fn new(trust_domain: &str, chain: Arc<dyn ClientCertVerifier>) -> Self {
        Self { trust_domain: trust_domain.to_owned(), chain }
    }
}

impl ClientCertVerifier for Caller {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let found = spiffe_id(end_entity).map_err(refuse)?;
        if found.trust_domain() == self.trust_domain {
            Ok(verified)
        } else {
            Err(refuse(WrongIdentity::Domain { found, expected: self.trust_domain.clone() }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
