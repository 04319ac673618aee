//! Two of our sidecars from static files: an explicit listener on the caller's side, the mesh hop between.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::certificates::{Certificates, DOMAIN};
use super::process::{Process, free_port};
use super::tools::Binaries;
use super::{Outcome, Scratch};

/// Two sidecars, and where a client calls.
pub struct Pair {
    pub processes: Vec<Process>,
    pub entry: SocketAddr,
}

/// Starts both in front of `application`.
///
/// # Errors
/// One does not start.
pub fn start(
    binaries: &Binaries,
    certificates: &Certificates,
    application: SocketAddr,
    cpu: Option<usize>,
    scratch: &Scratch,
) -> Outcome<Pair> {
    let (entry, mesh) = (free_port()?, free_port()?);
    let callee = scratch.write("callee.yaml", &callee(mesh, application))?;
    let caller = scratch.write("caller.yaml", &caller(entry, mesh))?;
    let start = |name: &str, file: &Path, identity: &Path| {
        Process::start(name, &command(&binaries.sidecar, file, identity, free_port()?), cpu, scratch)
    };
    let mut server = start("outrigger-callee", &callee, &certificates.server.folder)?;
    server.listens(mesh)?;
    let mut client = start("outrigger-caller", &caller, &certificates.client.folder)?;
    client.listens(entry)?;
    Ok(Pair { processes: vec![client, server], entry })
}

/// A sidecar that runs a file: one worker, as HAProxy's one thread.
pub fn command(sidecar: &Path, file: &Path, identity: &Path, admin: SocketAddr) -> Command {
    let mut command = Command::new(sidecar);
    command.arg("--config").arg(file).arg("--identity").arg(identity);
    command.env("OUTRIGGER_WORKERS", "1").env("OUTRIGGER_LOG", "warn");
    command.env("OUTRIGGER_ADMIN", admin.to_string());
    command
}

/// The callee's side: mesh port to the application.
fn callee(mesh: SocketAddr, application: SocketAddr) -> String {
    format!(
        "proxy:
  identity: {DOMAIN}/app
  workload: app-1
  seen_ports: false
  listeners:
    mesh: {{ address: '{mesh}', kind: mesh }}
  ports:
    8080: {{ protocol: http, app_address: '{application}' }}
"
    )
}

/// The caller's side: an explicit listener for the service.
pub fn caller(entry: SocketAddr, mesh: SocketAddr) -> String {
    format!(
        "proxy:
  identity: {DOMAIN}/client
  workload: client-1
  seen_ports: false
  listeners:
    app: {{ address: '{entry}', kind: outbound, target: {{ service: {{ name: app.bench, port: 8080 }} }} }}
services:
  app.bench:
    names: [ app ]
    ports:
      8080: {{ protocol: http, cluster: 'app.bench:8080' }}
clusters:
  'app.bench:8080':
    service: app.bench
    port: 8080
    identity: {DOMAIN}/app
    endpoints:
      - {{ workload: app-1, address: '{mesh}' }}
"
    )
}
