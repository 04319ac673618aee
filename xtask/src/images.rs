//! The images: ours FROM scratch around static binaries, and those of the test applications.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench;
use crate::engine::Engine;
use crate::run::{Fault, Run, built, folder, root, unwritable, which};
use crate::say;
use crate::sources::Sources;

/// The version that images are tagged with.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Image of `tests/apps`.
pub const TEST_APPS: &str = "outrigger-test-apps:dev";
/// A cold build on a small machine.
const BUILD: Duration = Duration::from_secs(3600);
const MODE_PRIVATE: u32 = 0o700;
const BINARIES: [(&str, &[&str]); 2] =
    [("sidecar", &["outrigger-sidecar"]), ("controller", &["outrigger-controller", "outrigger"])];

/// Builds `outrigger-sidecar:<version>` and `outrigger-controller:<version>`.
pub fn ensure(engine: &Engine, release: bool) -> Result<(), Fault> {
    tagged(engine, release, VERSION)
}

/// Builds the same under another tag, so that nothing that runs from `:<version>` meets a new image.
pub fn tagged(engine: &Engine, release: bool, tag: &str) -> Result<(), Fault> {
    let profile = if release { "release" } else { "dev" };
    let step = say::step("binaries", "cargo build");
    // A released sidecar is built by itself.
    let sidecar: &[&str] = if release { &[] } else { &["-p", "outrigger-sidecar"] };
    let packages = ["-p", "outrigger-controller", "-p", "outrigger-cli"].iter().chain(sidecar);
    let words = ["build", "--profile", profile].into_iter().chain(packages.copied());
    let advice = "mend what cargo says; a C compiler is needed too (apt-get install gcc libc6-dev)";
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let step = Run::new(cargo, words).advise(advice).within(BUILD).under(step)?.0;
    step.done(format!("sidecar, controller, outrigger ({profile}, static)"));
    let sidecar = if release {
        let advice = "mend what cargo says";
        Some(bench::release::sidecar(false).map_err(|why| Fault::new(why, advice))?)
    } else {
        None
    };

    let step = say::step("images", "staging");
    let from = if release { built().with_file_name("release") } else { built().with_file_name("debug") };
    let mut sizes = Vec::new();
    let mut step = step;
    for (image, binaries) in BINARIES {
        let stage = folder("images")?.join(image);
        let own = sidecar.as_deref().and_then(Path::parent).filter(|_| image == "sidecar");
        let bytes = prepare(&stage, own.unwrap_or(&from), binaries)?;
        let tag = format!("outrigger-{image}:{tag}");
        let dockerfile = root().join("images").join(image).join("Dockerfile");
        let words = [Path::new("build"), Path::new("-q"), Path::new("-t"), Path::new(&tag), Path::new("-f")];
        step = engine.docker(words.into_iter().chain([dockerfile.as_path(), stage.as_path()])).under(step)?.0;
        sizes.push(format!("{tag} ({} MB)", bytes.div_ceil(1_000_000)));
    }
    step.done(sizes.join(", "));
    Ok(())
}

/// Builds the image of the test applications.
pub fn test_apps(engine: &Engine, base: &Sources) -> Result<(), Fault> {
    let step = say::step("apps", "building the test applications");
    let argument = format!("BASE={}", base.debian());
    let words = ["build", "-q", "-t", TEST_APPS, "--build-arg", &argument, "tests/apps"];
    engine.docker(words).under(step)?.0.done(TEST_APPS);
    Ok(())
}

/// A small build context: stripped copies of the binaries and the empty state folder. Gives its size in bytes.
fn prepare(stage: &Path, from: &Path, binaries: &[&str]) -> Result<u64, Fault> {
    let state: PathBuf = stage.join("state/outrigger");
    fs::create_dir_all(&state).map_err(|e| unwritable(&state, &e))?;
    let private = fs::Permissions::from_mode(MODE_PRIVATE);
    fs::set_permissions(&state, private).map_err(|e| unwritable(&state, &e))?;
    let mut bytes = 0;
    for binary in binaries {
        let (source, target) = (from.join(binary), stage.join(binary));
        copy_stripped(&source, &target)?;
        bytes += fs::metadata(&target).map(|meta| meta.len()).unwrap_or_default();
    }
    Ok(bytes)
}

fn copy_stripped(source: &Path, target: &Path) -> Result<(), Fault> {
    let stripper = which("strip").or_else(|| which("llvm-strip"));
    if let Some(strip) = stripper {
        let words = [Path::new("--strip-debug"), Path::new("-o"), target, source];
        if Run::new(strip, words).read().is_ok() {
            return Ok(());
        }
    }
    let copied = fs::copy(source, target).map(|_| ());
    copied.map_err(|e| Fault::new(format!("cannot copy {}: {e}", source.display()), "check the disk"))
}
