//! The sidecar as it is released: built to count what it does, put under load, and built again by what was counted
//! (profile-guided optimisation). Cargo keeps both builds, and counts are kept until the first build changes.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::application::{self, Application, Body};
use super::arguments::Arguments;
use super::instructions::{CASES, Case};
use super::peer::{Http, Pair, Shape};
use super::process::Cpus;
use super::tools::{self, Binaries};
use super::{Bench, Outcome, Scratch, bytes, certificates};

/// Requests of each kind.
const REQUESTS: u32 = 20_000;
/// Seconds of connections that are new for each request.
const ANEW: u64 = 1;
/// Through byte streams.
const MIB: u64 = 512;
/// Of a request that has a body: one that comes in pieces.
const UPLOAD: usize = 16 * 1024;

/// Builds it; with `symbols`, so that functions have names. Where nothing can be counted it says why, and what it builds
/// is as correct and slower.
///
/// # Errors
/// The build fails.
pub fn sidecar(symbols: bool) -> Outcome<PathBuf> {
    match counts() {
        Ok(counts) => build(&format!("-Cprofile-use={}", counts.display()), symbols),
        Err(why) => {
            eprintln!("the sidecar will need a quarter more instructions than it could: {why}");
            build("", symbols)
        }
    }
}

/// What was counted under load.
fn counts() -> Outcome<PathBuf> {
    let merge = merger()?;
    tools::present()?;
    let folder = tools::workspace().join("target/profile");
    let raw = folder.join("raw");
    eprintln!("building a sidecar that counts");
    let counting = build(&format!("-Cprofile-generate={}", raw.display()), false)?;
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut hash = DefaultHasher::new();
    hash.write(&std::fs::read(&counting).map_err(fault)?);
    // Cargo builds again what its flags changed for: counts have a new name when they are new.
    let counts = folder.join(format!("{:016x}.profdata", hash.finish()));
    if !counts.is_file() {
        eprintln!("counting under load");
        if raw.is_dir() {
            std::fs::remove_dir_all(&raw).map_err(fault)?;
        }
        load_all(counting)?;
        let merged = Command::new(merge).args(["merge", "--sparse", "-o"]).args([&counts, &raw]).output();
        let merged = merged.map_err(|error| format!("llvm-profdata: {error}"))?;
        if !merged.status.success() {
            return Err(format!("llvm-profdata: {}", String::from_utf8_lossy(&merged.stderr).trim()));
        }
    }
    Ok(counts)
}

/// The compiler's own tool that joins counts: another version's may not read them.
fn merger() -> Outcome<PathBuf> {
    let asked = Command::new("rustc").args(["--print", "target-libdir"]).output();
    let asked = asked.map_err(|error| format!("rustc: {error}"))?;
    let library = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    let tool = library.with_file_name("bin").join("llvm-profdata");
    if !tool.is_file() {
        let _seen_below = Command::new("rustup").args(["component", "add", "llvm-tools"]).output();
    }
    let missing = "llvm-profdata is missing: `rustup component add llvm-tools`";
    if tool.is_file() { Ok(tool) } else { Err(missing.into()) }
}

/// Does with a sidecar all that is counted.
fn load_all(counting: PathBuf) -> Outcome<()> {
    let scratch = Scratch::new()?;
    let certificates = certificates::make(&scratch)?;
    let arguments = Arguments::parse(&[])?;
    let envoy = Err("not compared".into());
    let binaries = Binaries { sidecar: counting };
    let bench = Bench { arguments, binaries, envoy, certificates, scratch, cpus: Cpus::find() };
    bench.scratch.write("upload", &"x".repeat(UPLOAD))?;
    let application = Application::start(&bench)?;
    let (_server, carried) = bytes::server(&bench)?;
    for case in &CASES {
        let more = Case { connections: case.connections * 4, ..*case };
        end(case.start(&bench, &application)?, |pair| {
            more.load(&bench, pair, REQUESTS, None)?;
            match case.body {
                Body::Small => more.load(&bench, pair, REQUESTS / 4, Some("upload")),
                Body::Large => Ok(()),
            }
        })?;
    }
    let streams = Case { name: "bytes", shape: Shape::Bytes, outside: Http::One, ..CASES[0] };
    end(streams.start(&bench, &application)?, |pair| {
        application::http1(&bench, pair.entry, Body::Small, true, ANEW).map(drop)
    })?;
    end(streams.start_before(&bench, carried)?, |pair| bytes::carry(&bench, pair.entry, MIB))
}

/// Works, and ends the sidecars so that they write down what they counted.
fn end(pair: Pair, work: impl FnOnce(&Pair) -> Outcome<()>) -> Outcome<()> {
    work(&pair)?;
    pair.processes.into_iter().try_for_each(super::process::Process::end)
}

/// Builds the sidecar with one more flag for all of its crates.
fn build(flag: &str, symbols: bool) -> Outcome<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["rustc", "--profile", "sidecar", "--locked", "--package", "outrigger-sidecar"]);
    command.args(["--bin", "outrigger-sidecar", "--message-format", "json"]);
    if !flag.is_empty() {
        // Joined with what .cargo/config.toml says for the same; the environment would take its place.
        command.arg("--config").arg(format!("target.'cfg(target_env = \"gnu\")'.rustflags=[{flag:?}]"));
    }
    if symbols {
        command.args(["--", "-C", "strip=none"]);
    }
    let output = command.current_dir(tools::workspace()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the release build failed".into());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = built.filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from));
    let sidecar = executables.find(|file| file.ends_with("outrigger-sidecar"));
    sidecar.filter(|file: &PathBuf| Path::is_file(file)).ok_or("cargo built no outrigger-sidecar".into())
}
