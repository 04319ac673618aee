//! Mutual TLS 1.3 between sidecars.
//!
//! Takes an [`Identity`], gives configurations for calling and for being called. A new identity makes new
//! [`Contexts`]; connections that run keep the old ones.

pub mod controller;
mod peers;
mod sessions;
mod verify;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_wire::SpiffeId;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::identity::Identity;
use peers::Peers;
use sessions::Sessions;

pub use verify::{WrongIdentity, spiffe_id};

/// What is inside a mesh connection, told by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `h2`: the application spoke HTTP/2.
    H2,
    /// `h2-h1`: HTTP/2 frames carrying messages of an HTTP/1.x client.
    H2ForHttp1,
    /// `http/1.1`: one connection for one upgrade request, then bytes.
    Http1,
    /// `outrigger-tcp`: bytes, after one byte of the callee.
    Tcp,
}

impl Alpn {
    /// All that a callee accepts.
    pub const ALL: [Self; 4] = [Self::H2, Self::H2ForHttp1, Self::Http1, Self::Tcp];

    /// The protocol id on the wire (RFC 7301).
    pub fn id(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::H2ForHttp1 => b"h2-h1",
            Self::Http1 => b"http/1.1",
            Self::Tcp => b"outrigger-tcp",
        }
    }

    /// Both of its ends read whatever their applications do.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2 | Self::H2ForHttp1)
    }

    /// The one with that id on the wire.
    pub fn of(id: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|alpn| alpn.id() == id)
    }
}

/// Sessions that callers may resume, kept at most; about 1 KiB each. Beyond, the oldest are forgotten.
const SESSIONS: usize = 1024;

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key is not of a kind that rustls signs with, or does not fit the certificate.
    #[error("the key cannot be used: {0}")]
    Key(rustls::Error),
    /// A root is not a certificate authority that can be read.
    #[error("a root certificate cannot be used: {0}")]
    Root(rustls::Error),
    /// There is no root.
    #[error("there is no root certificate to check peers against")]
    NoRoot,
    /// The leaf does not carry a SPIFFE id.
    #[error("the own certificate: {0}")]
    Leaf(#[from] WrongIdentity),
    /// There is no leaf.
    #[error("the certificate chain is empty")]
    NoLeaf,
    /// Anything else that rustls refuses.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// TLS configurations made of one identity.
pub struct Contexts {
    own: SpiffeId,
    not_after: u64,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    key: Arc<CertifiedKey>,
    server: Arc<ServerConfig>,
    clients: Mutex<HashMap<(SpiffeId, Alpn), Arc<ClientConfig>>>,
    peers: Peers,
}

impl Contexts {
    /// Makes configurations of an identity.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(identity: &Identity) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let own = spiffe_id(identity.chain.first().ok_or(TlsError::NoLeaf)?)?;
        let mut roots = RootCertStore::empty();
        for root in &identity.roots {
            roots.add(root.clone()).map_err(TlsError::Root)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoRoot);
        }
        let roots = Arc::new(roots);
        let key = CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), &provider);
        let key = Arc::new(key.map_err(TlsError::Key)?);
        let server = Arc::new(server(&provider, &roots, &key, &own)?);
        let (clients, peers) = (Mutex::default(), Peers::default());
        Ok(Self { own, not_after: identity.not_after, provider, roots, key, server, clients, peers })
    }

    /// Who this sidecar proves to be.
    pub fn own(&self) -> &SpiffeId {
        &self.own
    }

    /// The certificate is good until then, Unix seconds.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// For connections of peers.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// Who is at the other end of a handshake that is done, whether it was a full one or resumed a session.
    ///
    /// # Errors
    /// The peer's certificate is not good at `now`: it may have been when the session began.
    pub fn peer(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        now: UnixTime,
    ) -> Result<SpiffeId, WrongIdentity> {
        let leaf = chain.and_then(|chain| chain.first()).ok_or(WrongIdentity::Missing)?;
        self.peers.identify(leaf, now)
    }

    /// For calling `identity` with one kind of content. Sessions are resumed only with the identity that
    /// they were made with.
    ///
    /// # Errors
    /// rustls refuses the protocol version or the key.
    pub fn client(&self, identity: &SpiffeId, alpn: Alpn) -> Result<Arc<ClientConfig>, rustls::Error> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (identity.clone(), alpn);
        if let Some(config) = clients.get(&key) {
            return Ok(config.clone());
        }
        let verifier = verify::Callee::new(identity.clone(), self.roots.clone(), &self.provider);
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(self.key.clone())));
        config.alpn_protocols = vec![alpn.id().to_vec()];
        config.resumption = Resumption::store(Arc::new(Sessions::default()));
        let config = Arc::new(config);
        clients.insert(key, config.clone());
        Ok(config)
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts").field("own", &self.own).finish_non_exhaustive()
    }
}

/// rustls prefers AES-256 with SHA-384. AES-128 with SHA-256 is as safe here (the key exchange is what a quantum computer
/// would attack), is what other proxies prefer, and costs no more: a few per cent less in bulk where it was measured.
fn provider() -> CryptoProvider {
    let suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites: suites, ..default_provider() }
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    key: &Arc<CertifiedKey>,
    own: &SpiffeId,
) -> Result<ServerConfig, TlsError> {
    let chain = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .clear_root_hint_subjects()
        .build()
        .map_err(|error| TlsError::Rustls(rustls::Error::General(error.to_string())))?;
    let verifier = verify::Caller::new(own.trust_domain(), chain);
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
    config.alpn_protocols = Alpn::ALL.map(|alpn| alpn.id().to_vec()).to_vec();
    config.send_tls13_tickets = 1;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(config)
}

#[cfg(test)]
mod tests;
