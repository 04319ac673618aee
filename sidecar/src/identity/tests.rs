use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType,
};

use outrigger_wire::control::Certificate;

use super::*;

const ID: &str = "spiffe://outrigger.internal/shop/cart";

/// A root that signs what it is given.
struct Root {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn sign(&self, csr: &[u8], uri: &str, from: SystemTime, to: SystemTime) -> Certificate {
        let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        request.params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        request.params.not_before = from.into();
        request.params.not_after = to.into();
        request.params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = request.signed_by(&self.issuer).unwrap().der().to_vec();
        Certificate { chain: vec![leaf], roots: vec![self.der.clone()], refused: String::new() }
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

const NOW: u64 = 1_800_000_000;

fn signed(lifetime: u64) -> Identity {
    let mut renewal = Renewal::of(None, 0.5);
    let csr = renewal.ask(at(NOW)).unwrap();
    let answer = Root::new().sign(&csr, ID, at(NOW), at(NOW + lifetime));
    renewal.answered(answer, at(NOW), 0.5).unwrap().unwrap()
}

#[test]
fn a_signed_request_becomes_an_identity_and_survives_the_disk() {
    let identity = signed(100);
    assert_eq!(identity.spiffe.as_str(), ID);
    assert_eq!((identity.not_before, identity.not_after), (NOW, NOW + 100));

    let directory = std::env::temp_dir().join(format!("outrigger-identity-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let state = State::new(directory);
    identity.store(&state).unwrap();
    let again = Identity::load(&state, at(NOW + 99)).unwrap().unwrap();
    assert_eq!((again.chain, again.roots), (identity.chain, identity.roots));
    assert_eq!(again.key.secret_der(), identity.key.secret_der());

    assert!(matches!(Identity::load(&state, at(NOW + 101)), Err(IdentityError::Unusable(_))), "expired");
}

#[test]
fn renewal_is_due_at_half_life_spread_by_five_per_cent() {
    for lifetime in [4, 100, 86_400] {
        let identity = signed(lifetime);
        let due = |spread| Renewal::of(Some(&identity), spread).wait(at(NOW)).as_secs_f64();
        assert!((due(0.0) - 0.45 * lifetime as f64).abs() < 0.001);
        assert!((due(1.0) - 0.55 * lifetime as f64).abs() < 0.001);
    }
}

#[test]
fn an_unanswered_question_is_asked_again_with_the_same_key() {
    let mut renewal = Renewal::of(None, 0.5);
    assert_eq!(renewal.wait(at(NOW)), Duration::ZERO);
    let first = renewal.ask(at(NOW)).unwrap();
    assert_eq!(renewal.wait(at(NOW)), FIRST_PATIENCE);
    let key = |csr: &[u8]| CertificateSigningRequestParams::from_der(&csr.into()).unwrap().public_key;
    assert_eq!(key(&renewal.ask(at(NOW + 2)).unwrap()), key(&first));
    renewal.hurry(at(NOW + 2));
    assert_eq!(renewal.wait(at(NOW + 2)), Duration::ZERO, "the connection is new");
}

const FIRST_PATIENCE: Duration = Duration::from_secs(2);

#[test]
fn a_certificate_of_another_key_root_time_or_name_is_refused() {
    let root = Root::new();
    let ask = || {
        let mut renewal = Renewal::of(None, 0.5);
        let csr = renewal.ask(at(NOW)).unwrap();
        (renewal, csr)
    };
    let (mut renewal, _) = ask();
    let other = root.sign(&ask().1, ID, at(NOW), at(NOW + 9));
    assert!(matches!(renewal.answered(other, at(NOW), 0.5), Err(IdentityError::Unusable(_))));

    let (mut renewal, csr) = ask();
    let mut foreign = root.sign(&csr, ID, at(NOW), at(NOW + 9));
    foreign.roots = vec![Root::new().der];
    assert!(matches!(renewal.answered(foreign, at(NOW), 0.5), Err(IdentityError::Unusable(_))));

    let (mut renewal, csr) = ask();
    let old = root.sign(&csr, ID, at(NOW - 9), at(NOW - 1));
    assert!(matches!(renewal.answered(old, at(NOW), 0.5), Err(IdentityError::Unusable(_))));

    let (mut renewal, csr) = ask();
    let unnamed = root.sign(&csr, "https://outrigger.internal/", at(NOW), at(NOW + 9));
    assert!(matches!(renewal.answered(unnamed, at(NOW), 0.5), Err(IdentityError::NotSpiffe(_))));

    assert!(renewal.answered(Certificate::default(), at(NOW), 0.5).unwrap().is_none(), "nobody asked");
}

#[test]
fn a_directory_of_pem_files_is_an_identity() {
    let mut renewal = Renewal::of(None, 0.5);
    let now = SystemTime::now();
    let csr = renewal.ask(now).unwrap();
    let answer = Root::new().sign(&csr, ID, now - Duration::from_secs(5), now + Duration::from_secs(500));
    let identity = renewal.answered(answer, now, 0.5).unwrap().unwrap();
    let directory = std::env::temp_dir().join(format!("outrigger-pem-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let put = |name: &str, tag: &str, der: &[u8]| {
        std::fs::write(directory.join(name), pem::encode(&pem::Pem::new(tag, der))).unwrap();
    };
    put("key.pem", "PRIVATE KEY", identity.key.secret_der());
    put("chain.pem", "CERTIFICATE", &identity.chain[0]);
    let error = Identity::from_directory(&directory).unwrap_err().to_string();
    assert!(error.contains("roots.pem"), "{error}");
    put("roots.pem", "CERTIFICATE", &identity.roots[0]);
    assert_eq!(Identity::from_directory(&directory).unwrap().spiffe.as_str(), ID);
}
