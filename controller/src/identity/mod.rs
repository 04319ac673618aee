//! The authority of a mesh: a root that lives in one file of the state directory, and the leaves it signs.
//! It fails closed: a root that cannot be used stops signing, and no other takes its place by itself.

mod store;

use std::time::{Duration, SystemTime};

use outrigger_wire::SpiffeId;
use outrigger_wire::control::pin::Pin;
use outrigger_wire::control::{CONTROLLER, Certificate, roots_hash};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CidrSubnet, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use store::{AuthorityError, FILE};

/// Ten years: a root is replaced by hand.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 86_400);
/// Leaves are good from a little earlier, for clocks that differ; at most a tenth of their life.
const BACKDATE: Duration = Duration::from_secs(60);
/// Longest request that is read, bytes; one of ours has about 230.
const MAX_REQUEST: usize = 4096;

/// Signs for workloads.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: Vec<u8>,
    lifetime: Duration,
    trust_domain: String,
}

/// Why a request was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It is longer than any of ours.
    #[error("the request has {0} bytes, over {MAX_REQUEST}")]
    Long(usize),
    /// Not PKCS #10, or its signature is not by its key.
    #[error("the request cannot be read, or is not signed by its own key: {0}")]
    Request(rcgen::Error),
    /// Not the key we ask for.
    #[error("the key must be ECDSA P-256")]
    Key,
    /// The identity cannot be written into a certificate.
    #[error("`{0}` cannot stand in a certificate")]
    Identity(SpiffeId),
    /// Signing itself failed.
    #[error("signing failed: {0}")]
    Signing(rcgen::Error),
    /// The controller's own certificate cannot be used.
    #[error("the controller's own certificate: {0}")]
    Own(String),
    /// The kernel gave no random numbers.
    #[error("no random numbers")]
    Random,
}

impl Authority {
    /// A new root for a trust domain, and its key.
    ///
    /// # Errors
    /// No random numbers, or a trust domain that cannot stand in a certificate.
    fn new_root(trust_domain: &str, now: SystemTime) -> Result<(KeyPair, Vec<u8>), rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Outrigger {trust_domain}"));
        params.subject_alt_names =
            vec![SanType::URI(Ia5String::try_from(format!("spiffe://{trust_domain}"))?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(names_of_workloads_only());
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + ROOT_LIFETIME).into();
        let root = params.self_signed(&key)?;
        Ok((key, root.der().to_vec()))
    }

    /// Signs the key of a request for `identity`, from now for the lifetime of this authority, or `at_most` where that is
    /// shorter. Whatever else the request asks for is ignored.
    ///
    /// # Errors
    /// See [`SignError`].
    pub fn sign(
        &self,
        request: &[u8],
        identity: &SpiffeId,
        now: SystemTime,
        at_most: Duration,
    ) -> Result<Certificate, SignError> {
        if request.len() > MAX_REQUEST {
            return Err(SignError::Long(request.len()));
        }
        let mut asked =
            CertificateSigningRequestParams::from_der(&request.into()).map_err(SignError::Request)?;
        if asked.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(SignError::Key);
        }
        let name =
            Ia5String::try_from(identity.as_str()).map_err(|_| SignError::Identity(identity.clone()))?;
        let uses = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        asked.params = self.leaf(name, uses, now, self.lifetime.min(at_most))?;
        let leaf = asked.signed_by(&self.issuer).map_err(SignError::Signing)?;
        let (chain, roots) = (vec![leaf.der().to_vec()], vec![self.root.clone()]);
        Ok(Certificate { chain, roots, refused: String::new() })
    }

    /// A key and a certificate for the controller itself, `spiffe://<trust-domain>/controller`: a name that no workload can
    /// have. The root goes along, last. It is for a server alone: with no sidecar it counts as a caller.
    ///
    /// # Errors
    /// See [`SignError`].
    pub fn controller(
        &self,
        now: SystemTime,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SignError> {
        let own = |error: &dyn std::fmt::Display| SignError::Own(error.to_string());
        let name = format!("spiffe://{}/{CONTROLLER}", self.trust_domain);
        let name = Ia5String::try_from(name).map_err(|error| own(&error))?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| own(&error))?;
        let leaf = self.leaf(name, vec![ExtendedKeyUsagePurpose::ServerAuth], now, self.lifetime)?;
        let leaf = leaf.signed_by(&key, &self.issuer).map_err(SignError::Signing)?;
        let chain = vec![leaf.der().clone(), self.root.clone().into()];
        Ok((chain, key.into()))
    }

    fn leaf(
        &self,
        name: Ia5String,
        uses: Vec<ExtendedKeyUsagePurpose>,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<CertificateParams, SignError> {
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = DistinguishedName::new();
        leaf.subject_alt_names = vec![SanType::URI(name)];
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = uses;
        leaf.use_authority_key_identifier_extension = true;
        leaf.serial_number = Some(serial()?);
        leaf.not_before = (now - BACKDATE.min(lifetime / 10)).into();
        leaf.not_after = (now + lifetime).into();
        Ok(leaf)
    }

    /// For how long what it signs is good.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Names the root to sidecars on other hosts.
    pub fn pin(&self) -> Pin {
        Pin::of(&self.root)
    }

    /// Names the root in hellos.
    pub fn roots_hash(&self) -> String {
        roots_hash([self.root.as_slice()])
    }

    /// The root certificate, DER.
    pub fn root(&self) -> &[u8] {
        &self.root
    }
}

/// The root may sign no DNS name and no address, so that it is of no use against a browser. The URI itself
/// cannot be constrained: webpki refuses every chain with a constraint of that kind; peers compare the
/// whole SPIFFE id instead.
fn names_of_workloads_only() -> NameConstraints {
    let excluded_subtrees = vec![
        GeneralSubtree::DnsName(String::new()),
        GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
        GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
    ];
    NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees }
}

/// 16 random bytes, positive (RFC 5280, section 4.1.2.2).
fn serial() -> Result<SerialNumber, SignError> {
    let mut bytes = [0; 16];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| SignError::Random)?;
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests;
