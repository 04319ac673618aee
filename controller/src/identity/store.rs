use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::GeneralName;

use super::Authority;

/// Key and certificate of the root, PEM, in the state directory.
pub const FILE: &str = "authority.pem";
/// Longest file that is read, bytes.
const MAX_FILE: u64 = 64 << 10;

/// Why there is no authority. The file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be read or written.
    #[error(
        "{path}: {source}; no certificate is signed until the controller can use it and is started again"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is there and is not a root with its key.
    #[error(
        "{path} cannot be used ({what}); no certificate is signed. Put the right file back and start the \
         controller again; or move it away: a new root is made then, and every sidecar gets a new certificate"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It is a good root of another mesh.
    #[error(
        "{path} is the root of the trust domain {found}, and OUTRIGGER_TRUST_DOMAIN is {wanted}; no certificate is \
         signed. Set it back, or move the file away: a new root is made then"
    )]
    TrustDomain {
        /// The file.
        path: PathBuf,
        /// Whose root it is.
        found: String,
        /// What the settings say.
        wanted: String,
    },
    /// A new root could not be made.
    #[error("no root could be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl Authority {
    /// Opens the authority in a state directory; makes a root only where there is no file at all. Leaves are good
    /// for `lifetime`.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn open(directory: &Path, trust_domain: &str, lifetime: Duration) -> Result<Self, AuthorityError> {
        let path = directory.join(FILE);
        let now = SystemTime::now();
        match read(&path) {
            Ok(text) => Self::parse(&text, &path, trust_domain, lifetime, now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (key, root) = Self::new_root(trust_domain, now)?;
                let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", root));
                let text = key.serialize_pem() + &certificate;
                create(directory, &path, text.as_bytes())
                    .map_err(|source| AuthorityError::Io { path: path.clone(), source })?;
                tracing::info!(file = %path.display(), trust_domain, "made a new root");
                Self::parse(text.as_bytes(), &path, trust_domain, lifetime, now)
            }
            Err(source) => Err(AuthorityError::Io { path, source }),
        }
    }

    fn parse(
        text: &[u8],
        path: &Path,
        trust_domain: &str,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let corrupt = |what: String| AuthorityError::Corrupt { path: path.to_owned(), what };
        let root = CertificateDer::from_pem_slice(text).map_err(|e| corrupt(format!("certificate: {e}")))?;
        let key = std::str::from_utf8(text).map_err(|error| corrupt(error.to_string()))?;
        let key = KeyPair::from_pem(key).map_err(|error| corrupt(format!("private key: {error}")))?;
        let (_, parsed) = parse_x509_certificate(&root).map_err(|error| corrupt(error.to_string()))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return Err(corrupt("key and certificate do not belong together".into()));
        }
        if !parsed.is_ca() {
            return Err(corrupt("the certificate is not a root".into()));
        }
        let ends = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        if UNIX_EPOCH + Duration::from_secs(ends) <= now {
            return Err(corrupt("the root has expired".into()));
        }
        let names = parsed.subject_alternative_name().ok().flatten();
        let mut uris =
            names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
                _ => None,
            });
        // A root that a user brought may name no trust domain; one that names another is another's.
        match uris.next() {
            Some(found) if found != trust_domain => {
                let (path, found) = (path.to_owned(), found.to_owned());
                return Err(AuthorityError::TrustDomain { path, found, wanted: trust_domain.to_owned() });
            }
            _ => {}
        }
        let issuer = Issuer::from_ca_cert_der(&root, key).map_err(|error| corrupt(error.to_string()))?;
        Ok(Self { issuer, root: root.to_vec(), lifetime, trust_domain: trust_domain.to_owned() })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

/// Writes a whole file where there is none: a link never replaces what is there already.
fn create(directory: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!(".{FILE}.{}", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::hard_link(&temporary, path)
    })();
    let removed = fs::remove_file(&temporary);
    written.and(removed)?;
    File::open(directory)?.sync_all()
}
