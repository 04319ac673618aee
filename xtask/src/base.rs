//! Where images start from: public ones, or, where no registry answers, one base made of Debian packages.

use std::fs;
use std::time::Duration;

use crate::engine::{Engine, apt};
use crate::run::{Fault, Run, is_root, root, which};
use crate::say;

/// How long a registry may take to hand out a tiny image before we do without.
const PROBE: Duration = Duration::from_secs(15);
/// How long Debian's mirror may take for some 150 packages.
const MAKE: Duration = Duration::from_secs(900);

/// Names and images that Dockerfiles and compose files ask for, as environment variables.
pub struct Base {
    images: Vec<(&'static str, String)>,
}

impl Base {
    /// Decides, and makes the base where needed. `OUTRIGGER_IMAGES=public` or `debian` decides by hand.
    pub fn ensure(engine: &Engine) -> Result<Self, Fault> {
        let step = say::step("base", "asking the registry");
        let wish = std::env::var("OUTRIGGER_IMAGES").unwrap_or_default();
        let name = format!("outrigger-base:{}", fingerprint()?);
        if wish == "public" || (wish != "debian" && !engine.has_image(&name) && registry_answers(engine)) {
            step.done("public images (a registry answers)");
            return Ok(Self { images: Vec::new() });
        }
        let step = if engine.has_image(&name) { step } else { make(engine, &name, step)? };
        let postgres = format!("outrigger-base-postgres:{}", fingerprint()?);
        let redis = format!("outrigger-base-redis:{}", fingerprint()?);
        let step = derive(engine, "postgres", &postgres, &name, step)?;
        let step = derive(engine, "redis", &redis, &name, step)?;
        step.done(format!("{name}, made of Debian packages (no registry answers)"));
        let plain = ["SHOP_DEBIAN", "SHOP_NODE", "SHOP_GO"].map(|variable| (variable, name.clone()));
        let images = plain.into_iter().chain([("SHOP_POSTGRES", postgres), ("SHOP_REDIS", redis)]).collect();
        Ok(Self { images })
    }

    /// Hands the names to a command's environment.
    pub fn hand_to(&self, run: Run) -> Run {
        self.images.iter().fold(run, |run, (name, image)| run.env(name, image))
    }

    /// The image that Python applications start from.
    pub fn debian(&self) -> &str {
        self.images
            .iter()
            .find(|(name, _)| *name == "SHOP_DEBIAN")
            .map_or("debian:12-slim", |(_, image)| image)
    }

    /// As words for a shell, for a person who goes on by hand.
    pub fn exports(&self) -> String {
        self.images.iter().map(|(name, image)| format!("{name}={image} ")).collect()
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

fn derive(engine: &Engine, what: &str, name: &str, base: &str, step: say::Step) -> Result<say::Step, Fault> {
    if engine.has_image(name) {
        return Ok(step);
    }
    let folder = format!("images/base/{what}");
    let base = format!("BASE={base}");
    Ok(engine.docker(["build", "-t", name, "--build-arg", &base, &folder]).under(step)?.0)
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

/// FNV-1a over everything the base is made from: another list, another name.
fn fingerprint() -> Result<String, Fault> {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for file in ["make.sh", "packages", "postgres/Dockerfile", "postgres/entrypoint.sh", "redis/Dockerfile"] {
        let path = root().join("images/base").join(file);
        let bytes = fs::read(&path)
            .map_err(|e| Fault::new(format!("{}: {e}", path.display()), "check out the repository again"))?;
        for byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(format!("{:012x}", hash & 0xffff_ffff_ffff))
}
