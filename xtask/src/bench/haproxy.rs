//! Two HAProxies that do the same: mutual TLS 1.3 between, one thread each, nothing switched on that is not needed.

use std::net::SocketAddr;

use super::certificates::Certificates;
use super::process::{Process, free_port};
use super::{Outcome, Scratch, outrigger, tools};

/// What is spoken between the two.
#[derive(Clone, Copy)]
pub enum Between {
    Http2,
    Http1,
}

impl Between {
    fn alpn(self) -> &'static str {
        match self {
            Self::Http2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }

    /// The pair's name, in logs and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http2 => "haproxy-h2",
            Self::Http1 => "haproxy-h1",
        }
    }
}

/// Starts both in front of `application`.
///
/// # Errors
/// One does not start.
pub fn start(
    between: Between,
    certificates: &Certificates,
    application: SocketAddr,
    cpu: Option<usize>,
    scratch: &Scratch,
) -> Outcome<outrigger::Pair> {
    let (entry, mesh, name) = (free_port()?, free_port()?, between.name());
    let alpn = between.alpn();
    let roots = certificates.roots.display();
    let tls = format!("ca-file {roots} verify required ssl-min-ver TLSv1.3 alpn {alpn}");
    let callee = format!(
        "frontend mesh\n  bind {mesh} ssl crt {} {tls}\n  default_backend app\n\
         backend app\n  http-reuse always\n  server app {application}\n",
        certificates.server.bundle.display()
    );
    let caller = format!(
        "frontend app\n  bind {entry}\n  default_backend mesh\n\
         backend mesh\n  http-reuse always\n  server mesh {mesh} ssl crt {} {tls} sni str(app.bench) verifyhost app.bench\n",
        certificates.client.bundle.display()
    );
    let start = |side: &str, config: &str| {
        let name = format!("{name}-{side}");
        let file = scratch.write(&format!("{name}.cfg"), &(PREAMBLE.to_owned() + config))?;
        let mut command = tools::command("haproxy");
        // -db: stay in the foreground, one process.
        command.arg("-db").arg("-f").arg(file);
        Process::start(&name, &command, cpu, scratch)
    };
    let mut server = start("callee", &callee)?;
    server.listens(mesh)?;
    let mut client = start("caller", &caller)?;
    client.listens(entry)?;
    Ok(outrigger::Pair { processes: vec![client, server], entry })
}

const PREAMBLE: &str = "global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
";
