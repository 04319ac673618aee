//! Who the controller is, for a sidecar on another host: its chain ends in a root that is pinned, and its certificate has
//! the one name that no workload can have, `spiffe://<trust-domain>/controller`. DNS names and the host's roots say
//! nothing here.

use std::fmt;
use std::sync::Arc;

use outrigger_wire::control::CONTROLLER;
use outrigger_wire::control::pin::{Pin, Pins};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::verify::{refuse, uris};
use super::{WrongIdentity, provider};

/// Certificates of a chain that are looked at; ours has two.
const CHAIN: usize = 8;

/// Checks the controller.
#[derive(Debug)]
pub struct Controller {
    pins: Pins,
    provider: Arc<CryptoProvider>,
}

/// Why it is not the controller.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongController {
    /// No certificate of the chain is a pinned root.
    #[error(
        "its root is {found}, and OUTRIGGER_CONTROL_PIN says {pins}: after a change of the root, the tasks need its new pin"
    )]
    Root {
        /// The pin of the last certificate of its chain.
        found: String,
        /// Those that are believed.
        pins: String,
    },
    /// The certificate of somebody else of the mesh.
    #[error("its certificate is that of `{0}`, not the controller's")]
    Name(String),
    /// It cannot be read, or has no one name.
    #[error(transparent)]
    Identity(#[from] WrongIdentity),
}

/// rustls shows the reasons of verifiers in their debug form, and people read them.
impl fmt::Debug for WrongController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Controller {
    /// The one whose root is pinned.
    pub fn new(pins: Pins) -> Self {
        Self { pins, provider: Arc::new(provider()) }
    }

    /// TLS 1.3 to it, without a certificate of our own, and each time from the start.
    ///
    /// # Errors
    /// rustls refuses the protocol version.
    pub fn client(self: Arc<Self>) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// The pin of the root in a chain, leaf first.
    pub fn root(&self, chain: &[CertificateDer<'_>]) -> Option<Pin> {
        self.root_of(chain.iter().skip(1)).map(|root| Pin::of(root))
    }

    fn root_of<'a, 'b: 'a>(
        &self,
        mut above: impl Iterator<Item = &'a CertificateDer<'b>>,
    ) -> Option<&'a CertificateDer<'b>> {
        above.by_ref().take(CHAIN).find(|certificate| self.pins.hold(certificate))
    }

    /// Exactly one name, the controller's; of the root's own trust domain, where the root says which that is.
    fn check_name(leaf: &CertificateDer<'_>, root: &CertificateDer<'_>) -> Result<(), WrongController> {
        let names = uris(leaf)?;
        let [name] = names.as_slice() else { return Err(WrongIdentity::Uris(names.len()).into()) };
        let domain = name.strip_prefix("spiffe://").and_then(|rest| rest.strip_suffix(CONTROLLER));
        let domain = domain.and_then(|rest| rest.strip_suffix('/'));
        let domain = domain.filter(|domain| !domain.is_empty() && !domain.contains('/'));
        let roots = uris(root)?;
        let said = roots.iter().find_map(|root| root.strip_prefix("spiffe://"));
        match domain {
            Some(domain) if said.is_none_or(|said| said == domain) => Ok(()),
            _ => Err(WrongController::Name(name.clone())),
        }
    }
}

impl ServerCertVerifier for Controller {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(root) = self.root_of(intermediates.iter()) else {
            let found = Pin::of(intermediates.last().unwrap_or(end_entity)).to_string();
            return Err(refuse(WrongController::Root { found, pins: self.pins.to_string() }));
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone())?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, intermediates, now, algorithms)?;
        Self::check_name(end_entity, root).map_err(refuse)?;
        Ok(ServerCertVerified::assertion())
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
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
