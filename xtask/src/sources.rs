//! Where images start from: public ones, or, where no registry answers, one base made of Debian packages.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::{Engine, apt};
use crate::run::{Fault, Run, folder, is_root, root, unwritable, which};
use crate::say;

/// How long a registry may take to hand out a tiny image before we do without.
const PROBE: Duration = Duration::from_secs(15);
/// How long Debian's mirror may take for some 150 packages.
const MAKE: Duration = Duration::from_secs(900);

/// Names of images that compose files ask for, as variables.
pub struct Sources {
    images: Vec<(&'static str, String)>,
}

impl Sources {
    /// Decides, and makes the base where needed. `OUTRIGGER_IMAGES=public` or `debian` decides by hand.
    pub fn ensure(engine: &Engine) -> Result<Self, Fault> {
        let step = say::step("base", "asking the registry");
        let wish = std::env::var("OUTRIGGER_IMAGES").unwrap_or_default();
        let name = format!("outrigger-base:{}", fingerprint("", &["make.sh", "packages"])?);
        if wish == "public" || (wish != "debian" && !engine.has_image(&name) && registry_answers(engine)) {
            step.done("public images (a registry answers)");
            return Ok(Self::public());
        }
        let step = if engine.has_image(&name) { step } else { make(engine, &name, step)? };
        let files = ["postgres/Dockerfile", "postgres/entrypoint.sh"];
        let (step, postgres) = derive(engine, "postgres", &files, &name, step)?;
        let (step, redis) = derive(engine, "redis", &["redis/Dockerfile"], &name, step)?;
        step.done(format!("{name}, made of Debian packages (no registry answers)"));
        let plain = ["SHOP_DEBIAN", "SHOP_NODE", "SHOP_GO"].map(|variable| (variable, name.clone()));
        let images = plain.into_iter().chain([("SHOP_POSTGRES", postgres), ("SHOP_REDIS", redis)]).collect();
        Ok(Self { images })
    }

    /// The public images that the files name themselves.
    pub fn public() -> Self {
        Self { images: Vec::new() }
    }

    /// Writes the names where `compose --env-file` reads them; gives that file.
    pub fn env_file(&self) -> Result<PathBuf, Fault> {
        let file = folder("shop")?.join("images.env");
        let lines: String = self.images.iter().map(|(name, image)| format!("{name}={image}\n")).collect();
        fs::write(&file, lines).map_err(|e| unwritable(&file, &e))?;
        Ok(file)
    }

    /// The image that Python applications start from.
    pub fn debian(&self) -> &str {
        self.named("SHOP_DEBIAN").unwrap_or("debian:12-slim")
    }

    /// The database's image, with its client.
    pub fn postgres(&self) -> &str {
        self.named("SHOP_POSTGRES").unwrap_or("postgres:16-alpine")
    }

    fn named(&self, variable: &str) -> Option<&str> {
        self.images.iter().find(|(name, _)| *name == variable).map(|(_, image)| image.as_str())
    }
}

fn registry_answers(engine: &Engine) -> bool {
    let pulled = engine.docker(["pull", "-q", "hello-world"]).within(PROBE).read().is_ok();
    if pulled {
        let _ = engine.docker(["rmi", "hello-world"]).read();
    }
    pulled
}

fn make(engine: &Engine, name: &str, step: say::Step) -> Result<say::Step, Fault> {
    if !is_root() || which("apt-get").is_none() {
        step.failed();
        return Err(Fault::new(
            "no registry answers, and a base of Debian packages needs root and apt-get",
            "see that `docker pull debian:12-slim` works (proxy, login), or run this as root on Debian",
        ));
    }
    let step = if which("mmdebstrap").is_some() { step } else { apt(step, &["mmdebstrap"])? };
    let script = root().join("images/base/make.sh");
    let advice = "see that a Debian mirror is reachable; OUTRIGGER_MIRROR names another one";
    let run = Run::new(script, [name, &mirror()]).advise(advice).within(MAKE);
    let made = run.under(step);
    if made.is_err() {
        let _ = engine.docker(["rmi", "-f", name]).read();
    }
    Ok(made?.0)
}

fn derive(
    engine: &Engine,
    what: &str,
    files: &[&str],
    base: &str,
    step: say::Step,
) -> Result<(say::Step, String), Fault> {
    let name = format!("outrigger-base-{what}:{}", fingerprint(base, files)?);
    if engine.has_image(&name) {
        return Ok((step, name));
    }
    let folder = format!("images/base/{what}");
    let base = format!("BASE={base}");
    let step = engine.docker(["build", "-t", &name, "--build-arg", &base, &folder]).under(step)?.0;
    Ok((step, name))
}

/// The mirror this machine uses itself, else Debian's own.
fn mirror() -> String {
    let ours = std::env::var("OUTRIGGER_MIRROR").ok();
    let format = "$(CREATED_BY) $(ORIGIN) $(CODENAME) $(REPO_URI)";
    let targets = || Run::new("apt-get", ["indextargets", "--format", format]).read().ok();
    let host = || {
        let wanted = "Packages Debian bookworm ";
        targets()?.lines().find_map(|line| line.strip_prefix(wanted)).map(str::to_owned)
    };
    ours.or_else(host).unwrap_or_else(|| "http://deb.debian.org/debian".into())
}

/// FNV-1a over everything an image is made from: other contents, another name.
fn fingerprint(seed: &str, files: &[&str]) -> Result<String, Fault> {
    let mut all = seed.as_bytes().to_vec();
    for file in files {
        let path = root().join("images/base").join(file);
        all.extend(
            fs::read(&path).map_err(|e| {
                Fault::new(format!("{}: {e}", path.display()), "check out the repository again")
            })?,
        );
    }
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = all.into_iter().fold(0xcbf2_9ce4_8422_2325, step);
    Ok(format!("{:012x}", hash & 0xffff_ffff_ffff))
}
