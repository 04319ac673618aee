use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::PKCS_ED25519;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::GeneralName;

use super::*;

const DOMAIN: &str = "outrigger.internal";

fn fresh(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("outrigger-authority-{name}-{}", std::process::id()));
    let _absent = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn open(directory: &std::path::Path, seconds: u64) -> Result<Authority, AuthorityError> {
    Authority::open(directory, DOMAIN, Duration::from_secs(seconds))
}

fn cart() -> SpiffeId {
    SpiffeId::new(DOMAIN, "shop", "cart").unwrap()
}

fn request(params: &CertificateParams) -> Vec<u8> {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn the_root_is_made_once_and_is_private() {
    let directory = fresh("once");
    let first = open(&directory, 100).unwrap();
    assert_eq!(open(&directory, 100).unwrap().root(), first.root());
    let file = fs::metadata(directory.join(FILE)).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing else is left");
    let (_, root) = parse_x509_certificate(first.root()).unwrap();
    let constraints = root.basic_constraints().unwrap().unwrap().value;
    assert_eq!((constraints.ca, constraints.path_len_constraint), (true, Some(0)));
}

#[test]
fn a_leaf_names_who_was_attested_and_nothing_that_was_asked_for() {
    let authority = open(&fresh("leaf"), 86_400).unwrap();
    let mut greedy = CertificateParams::new(["bank.example".to_owned()]).unwrap();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let now = SystemTime::now();
    let signed = authority.sign(&request(&greedy), &cart(), now, Duration::MAX).unwrap();
    let (_, leaf) = parse_x509_certificate(&signed.chain[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::URI(cart().as_str())]);
    assert!(!leaf.is_ca());
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth);
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert_eq!(leaf.validity().not_before.timestamp(), seconds - 60);
    assert_eq!(leaf.validity().not_after.timestamp(), seconds + 86_400);
    let again = authority.sign(&request(&CertificateParams::default()), &cart(), now, Duration::MAX).unwrap();
    let (_, again) = parse_x509_certificate(&again.chain[0]).unwrap();
    assert_ne!(leaf.raw_serial(), again.raw_serial());
}

#[test]
fn a_short_life_is_not_spent_before_it_begins() {
    let authority = open(&fresh("short"), 10).unwrap();
    let signed = authority
        .sign(&request(&CertificateParams::default()), &cart(), SystemTime::now(), Duration::MAX)
        .unwrap();
    let (_, leaf) = parse_x509_certificate(&signed.chain[0]).unwrap();
    let life = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert!((10..=12).contains(&life), "{life}");
}

#[test]
fn requests_of_another_key_kind_or_signature_are_refused() {
    let authority = open(&fresh("requests"), 100).unwrap();
    let now = SystemTime::now();
    let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let other = CertificateParams::default().serialize_request(&other).unwrap().der().to_vec();
    assert!(matches!(authority.sign(&other, &cart(), now, Duration::MAX), Err(SignError::Key)));
    let mut forged = request(&CertificateParams::default());
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(authority.sign(&forged, &cart(), now, Duration::MAX), Err(SignError::Request(_))));
    assert!(matches!(authority.sign(b"?", &cart(), now, Duration::MAX), Err(SignError::Request(_))));
    assert!(matches!(authority.sign(&[0; 5000], &cart(), now, Duration::MAX), Err(SignError::Long(5000))));
}

#[test]
fn an_unusable_file_stops_signing_and_is_left_as_it_is() {
    let other = fresh("other");
    open(&other, 100).unwrap();
    let other = fs::read_to_string(other.join(FILE)).unwrap();
    let directory = fresh("corrupt");
    let path = directory.join(FILE);
    open(&directory, 100).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let certificate = |text: &str| text[text.find("-----BEGIN CERTIFICATE").unwrap()..].to_owned();
    let key = |text: &str| text[..text.find("-----BEGIN CERTIFICATE").unwrap()].to_owned();
    let cases = [
        String::new(),
        "not a root".to_owned(),
        good[..good.len() / 2].to_owned(),
        key(&good),
        certificate(&good),
        key(&other) + &certificate(&good),
    ];
    for bad in cases {
        fs::write(&path, &bad).unwrap();
        let error = open(&directory, 100).err().expect("it is not used");
        assert!(matches!(error, AuthorityError::Corrupt { .. }), "{bad}: {error}");
        let said = error.to_string();
        assert!(said.contains(path.to_str().unwrap()) && said.contains("move it away"), "{said}");
        assert_eq!(fs::read_to_string(&path).unwrap(), bad, "the file is untouched");
    }
    fs::write(&path, &good).unwrap();
    open(&directory, 100).unwrap();
}

#[test]
fn the_root_of_another_trust_domain_is_not_used() {
    let directory = fresh("domain");
    open(&directory, 100).unwrap();
    let error = Authority::open(&directory, "shop.internal", Duration::from_secs(100)).err().unwrap();
    let said = error.to_string();
    assert!(said.contains("outrigger.internal") && said.contains("OUTRIGGER_TRUST_DOMAIN"), "{said}");
}

#[test]
fn a_directory_where_the_file_should_be_is_an_error_that_names_it() {
    let directory = fresh("directory");
    fs::create_dir(directory.join(FILE)).unwrap();
    let said = open(&directory, 100).err().unwrap().to_string();
    assert!(said.contains(FILE), "{said}");
    let said = open(std::path::Path::new("/nonexistent/outrigger"), 100).err().unwrap().to_string();
    assert!(said.contains("/nonexistent/outrigger/authority.pem"), "{said}");
}
