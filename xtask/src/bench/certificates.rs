//! A CA and two leaves, made with the `openssl` command: ECDSA P-256, SPIFFE ids for our sidecars, DNS names for HAProxy.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Outcome, Scratch, tools};

/// Trust domain and namespace of the ids.
pub const DOMAIN: &str = "spiffe://bench.internal/bench";

/// One side's key and certificate.
pub struct Identity {
    /// Folder with `key.pem`, `chain.pem` and `roots.pem`: what our static mode reads.
    pub folder: PathBuf,
    /// Chain and key in one file: what HAProxy reads.
    pub bundle: PathBuf,
}

/// Both sides, signed by one CA.
pub struct Certificates {
    pub client: Identity,
    pub server: Identity,
    /// The CA's certificate.
    pub roots: PathBuf,
}

/// Makes them.
///
/// # Errors
/// `openssl` fails; the text is what it said.
pub fn make(scratch: &Scratch) -> Outcome<Certificates> {
    let (key, roots) = (scratch.path("ca.key"), scratch.path("ca.pem"));
    openssl(&format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -keyout {} -out {}",
        key.display(),
        roots.display()
    ))?;
    let client = leaf("client", scratch, &key, &roots)?;
    let server = leaf("app", scratch, &key, &roots)?;
    Ok(Certificates { client, server, roots })
}

fn leaf(service: &str, scratch: &Scratch, ca_key: &Path, roots: &Path) -> Outcome<Identity> {
    let folder = scratch.path(service);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let file = |name: &str| folder.join(name);
    let (key, chain, request) = (file("key.pem"), file("chain.pem"), file("request.pem"));
    let extensions = scratch.write(
        &format!("{service}.ext"),
        &format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=URI:{DOMAIN}/{service},DNS:{service}.bench\n"
        ),
    )?;
    openssl(&format!(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={service} -keyout {} -out {}",
        key.display(),
        request.display()
    ))?;
    openssl(&format!(
        "x509 -req -days 1 -in {} -CA {} -CAkey {} -CAcreateserial -extfile {} -out {}",
        request.display(),
        roots.display(),
        ca_key.display(),
        extensions.display(),
        chain.display()
    ))?;
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let bundle = file("bundle.pem");
    fs::write(&bundle, read(&chain)? + &read(&key)?).map_err(|error| error.to_string())?;
    fs::copy(roots, file("roots.pem")).map_err(|error| error.to_string())?;
    Ok(Identity { folder, bundle })
}

fn openssl(arguments: &str) -> Outcome<()> {
    let output = tools::command("openssl").args(arguments.split_whitespace()).output();
    let output = output.map_err(|error| format!("openssl: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
