//! CPU per request over two proxies with mutual TLS between: ours, and HAProxy's with HTTP/2 and HTTP/1.1 between.

use std::net::SocketAddr;
use std::process::Command;

use super::arguments::Arguments;
use super::haproxy::Between;
use super::outrigger::Pair;
use super::process::{Cpus, Process, free_port, pinned};
use super::report::{Report, Row};
use super::tools::Binaries;
use super::{Outcome, Scratch, certificates, haproxy, outrigger, tools};

/// Keep-alive connections of the load generator.
const CONNECTIONS: &str = "64";
/// Bytes of a response's body.
const BODY: usize = 1024;
/// How much more than HAProxy's best we may take.
const ALLOWED: f64 = 1.3;

/// Measures all pairs in turn, round by round, so that what the neighbours do hits all alike.
///
/// # Errors
/// A process does not start, or a request fails.
pub fn measure(
    arguments: &Arguments,
    binaries: &Binaries,
    scratch: &Scratch,
    cpus: &Cpus,
    report: &mut Report,
) -> Outcome<()> {
    let certificates = certificates::make(scratch)?;
    let (_nginx, application) = application(cpus, scratch)?;
    let ours = outrigger::start(binaries, &certificates, application, cpus.proxies, scratch)?;
    let peer = |between| haproxy::start(between, &certificates, application, cpus.proxies, scratch);
    let pairs = [
        ("outrigger", ours),
        (Between::Http2.name(), peer(Between::Http2)?),
        (Between::Http1.name(), peer(Between::Http1)?),
    ];
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for round in 1..=arguments.rounds {
        for ((name, pair), samples) in pairs.iter().zip(&mut samples) {
            let sample = one(pair, arguments.seconds, cpus).map_err(|error| format!("{name}: {error}"))?;
            eprintln!(
                "round {round}: {name:<11} {:>6.1} µs/request ({:.1} caller, {:.1} callee), {:>6.0} requests/s",
                sample.cpu_us(),
                sample.caller_us,
                sample.callee_us,
                sample.per_second
            );
            samples.push(sample);
        }
    }
    let [ours, http2, http1] = samples.map(|samples| median(samples.iter().map(Sample::cpu_us).collect()));
    let best = http2.min(http1);
    report.add(Row::number("CPU per request, outrigger", "µs", ours));
    report.add(Row::number("CPU per request, HAProxy, HTTP/2 between", "µs", http2));
    report.add(Row::number("CPU per request, HAProxy, HTTP/1.1 between", "µs", http1));
    report.add(Row::at_most("times HAProxy's best", "x", ours / best, ALLOWED));
    Ok(())
}

/// One measurement.
struct Sample {
    caller_us: f64,
    callee_us: f64,
    per_second: f64,
}

impl Sample {
    fn cpu_us(&self) -> f64 {
        self.caller_us + self.callee_us
    }
}

fn one(pair: &Pair, seconds: u64, cpus: &Cpus) -> Outcome<Sample> {
    load(pair.entry, 1, cpus)?;
    let before: Vec<f64> = pair.processes.iter().map(Process::cpu_us).collect();
    let requests = load(pair.entry, seconds, cpus)?;
    let mut spent =
        pair.processes.iter().zip(before).map(|(process, before)| (process.cpu_us() - before) / requests);
    let caller_us = spent.next().unwrap_or_default();
    Ok(Sample { caller_us, callee_us: spent.sum(), per_second: requests / seconds as f64 })
}

/// Requests answered with 200 within so many seconds.
fn load(entry: SocketAddr, seconds: u64, cpus: &Cpus) -> Outcome<f64> {
    let mut wrk = tools::command("wrk");
    wrk.args(["-t", "1", "-c", CONNECTIONS, "-d", &format!("{seconds}s"), &format!("http://{entry}/")]);
    let output = pinned(&wrk, cpus.load).output().map_err(|error| format!("wrk: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let requests =
        said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok());
    let failed = said.contains("Non-2xx") || said.contains("Socket errors");
    match requests {
        Some(requests) if requests > 0.0 && !failed => Ok(requests),
        _ => Err(format!("requests failed under load:\n{said}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// nginx with one fixed answer, in one process.
fn application(cpus: &Cpus, scratch: &Scratch) -> Outcome<(Process, SocketAddr)> {
    let address = free_port()?;
    let folder = scratch.0.display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen {address}; location / {{ default_type text/plain; return 200 '{}'; }} }}
}}
",
        "x".repeat(BODY)
    );
    let file = scratch.write("nginx.conf", &config)?;
    let mut command: Command = tools::command("nginx");
    command.arg("-c").arg(file).arg("-e").arg(scratch.path("nginx-early.log"));
    let mut process = Process::start("nginx", &command, cpus.load, scratch)?;
    process.listens(address)?;
    Ok((process, address))
}

/// The middle one; the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}
