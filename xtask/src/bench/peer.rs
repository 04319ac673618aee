//! One way to do the work: a program, and what it speaks between two of it.

use std::net::SocketAddr;

use super::process::{Process, free_port};
use super::program::{Program, files, fill};
use super::{Bench, Outcome};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

impl Http {
    pub fn is_http2(self) -> bool {
        self == Self::Two
    }
}

/// How many proxies, and what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One proxy, plaintext on both sides.
    OneHop,
    /// Two proxies with mutual TLS 1.3 between.
    TwoHops,
    /// Two proxies that carry bytes; each connection has a mutual-TLS connection of its own.
    Bytes,
}

/// One of two proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Caller,
    Callee,
}

/// What a peer is started for.
#[derive(Clone, Debug)]
pub struct Job {
    pub shape: Shape,
    /// Spoken between two peers; ours speaks HTTP/2 always.
    pub between: Http,
    /// Spoken by load and application.
    pub outside: Http,
    pub application: SocketAddr,
    pub workers: usize,
    /// CPUs of the proxies, as taskset has them; none: any.
    pub cpus: Option<String>,
}

/// A program and what it speaks between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub program: Program,
    /// None: there is no choice.
    pub between: Option<Http>,
}

impl Peer {
    /// Each program once.
    pub fn plain() -> Vec<Self> {
        Program::ALL.map(|program| Self { program, between: None }).to_vec()
    }

    /// HAProxy and Envoy with both versions between.
    pub fn by_hop() -> Vec<Self> {
        let both = |program| [Http::Two, Http::One].map(|http| Self { program, between: Some(http) });
        let one = |program| Self { program, between: None };
        let [haproxy, envoy] = [Program::Haproxy, Program::Envoy].map(both);
        [one(Program::Outrigger), one(Program::Nginx)].into_iter().chain(haproxy).chain(envoy).collect()
    }

    /// As the report names it.
    pub fn name(self) -> String {
        let program = self.program.name();
        match self.between {
            None => program.to_owned(),
            Some(Http::One) => format!("{program}, HTTP/1.1 between"),
            Some(Http::Two) => format!("{program}, HTTP/2 between"),
        }
    }

    /// Starts what the job needs.
    ///
    /// # Errors
    /// The program is not here, or does not start.
    pub fn start(self, bench: &Bench, mut job: Job) -> Outcome<Pair> {
        job.between = self.between.unwrap_or(job.between);
        let (entry, mesh) = (free_port()?, free_port()?);
        let sides = match job.shape {
            Shape::OneHop => [Some((Side::Caller, entry)), None],
            Shape::TwoHops | Shape::Bytes => [Some((Side::Callee, mesh)), Some((Side::Caller, entry))],
        };
        let mut processes = Vec::new();
        for (side, listens) in sides.into_iter().flatten() {
            let places = [("entry", entry), ("mesh", mesh), ("application", job.application)];
            processes.push(self.side(bench, &job, side, &places, listens)?);
        }
        processes.reverse();
        Ok(Pair { processes, entry })
    }

    fn side(
        self,
        bench: &Bench,
        job: &Job,
        side: Side,
        places: &[(&str, SocketAddr)],
        listens: SocketAddr,
    ) -> Outcome<Process> {
        let (program, identity) = match side {
            Side::Caller => (self.program, &bench.certificates.client),
            Side::Callee => (self.program, &bench.certificates.server),
        };
        let name = format!("{}-{:?}-{}", program.name(), side, listens.port()).to_lowercase();
        let mut text = fill(program.template(job.shape, side), &program.words(job));
        text = fill(&text, &files(identity, &bench.certificates.roots));
        text = fill(&text, &[("folder", bench.scratch.0.display().to_string()), ("name", name.clone())]);
        for (place, address) in places {
            let port = address.port().to_string();
            text = fill(&text, &[(*place, address.to_string()), (&format!("{place}_port"), port)]);
        }
        let file = bench.scratch.write(&format!("{name}.{}", program.suffix()), &text)?;
        let command = program.command(bench, &file, identity, job.workers)?;
        let mut process = Process::start(&name, &command, job.cpus.as_deref(), &bench.scratch)?;
        process.listens(listens)?;
        Ok(process)
    }
}

/// The proxies of a peer, the caller's first, and where a client calls.
pub struct Pair {
    pub processes: Vec<Process>,
    pub entry: SocketAddr,
}
