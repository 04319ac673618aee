//! What must be there before: programs of the distribution, and our release binaries.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, release};

/// (program, Debian package).
const PROGRAMS: [(&str, &str); 6] = [
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("openssl", "openssl"),
    ("taskset", "util-linux"),
];
/// Where Debian keeps nginx's modules, and the one that carries bytes.
pub const MODULES: &str = "/usr/lib/nginx/modules";
const STREAM: (&str, &str) = ("ngx_stream_module.so", "libnginx-mod-stream");

/// Installs what is missing, where that can be done (Debian, root).
///
/// # Errors
/// Something is missing and cannot be installed; the text says which packages.
pub fn install() -> Outcome<()> {
    let mut missing = missing();
    if !Path::new(MODULES).join(STREAM.0).is_file() {
        missing.push(STREAM.1);
    }
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(", "));
    let mut apt = Command::new("apt-get");
    // Debian starts what it installs; nothing of it is wanted as a service here.
    apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    apt.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
    match apt.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "apt-get could not install {}: {}; install them and run again",
            missing.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(_) => Err(format!("missing: {}; install these packages and run again", missing.join(" "))),
    }
}

fn missing() -> Vec<&'static str> {
    PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect()
}

/// All is there that puts load on our own sidecars.
///
/// # Errors
/// Something is not; the text says which packages.
pub fn present() -> Outcome<()> {
    let missing: Vec<_> = missing().into_iter().filter(|package| *package != "haproxy").collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("packages are missing: {}", missing.join(" "))) }
}

/// Raises the limit on open descriptors to what is allowed, for this process and all that it starts: thousands of
/// connections are opened when memory is measured. Where that fails, opening them will say so.
pub fn raise_descriptors() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    if let Some(hard) = line.and_then(|line| line.split_whitespace().nth(1)) {
        let mut prlimit = command("prlimit");
        prlimit.args(["--pid", &std::process::id().to_string(), &format!("--nofile={hard}:{hard}")]);
        let _opening_will_say_so = prlimit.output();
    }
}

/// Where a program is; Debian keeps servers in /usr/sbin, which is not in everybody's PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A command for an installed program.
pub fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| program.into()))
}

/// Our binaries, as released.
pub struct Binaries {
    pub sidecar: PathBuf,
}

/// Builds them as they are released, unless one is given; with `symbols`, so that functions have names.
///
/// # Errors
/// The build fails, or the given file is not there.
pub fn build(sidecar: Option<PathBuf>, symbols: bool) -> Outcome<Binaries> {
    if let Some(sidecar) = sidecar {
        return if sidecar.is_file() {
            Ok(Binaries { sidecar })
        } else {
            Err(format!("{}: no such file", sidecar.display()))
        };
    }
    Ok(Binaries { sidecar: release::sidecar(symbols)? })
}

/// Where the workspace is.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
