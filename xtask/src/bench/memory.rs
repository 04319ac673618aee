//! Resident memory: of proxies that do nothing, and of each connection that is open and idle.

use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use super::application::{Application, Body};
use super::client::Client;
use super::peer::{Http, Job, Pair, Peer, Shape};
use super::process::Process;
use super::program::Program;
use super::report::{Report, Row};
use super::{Bench, Outcome, application, bytes};

/// Connections that are opened.
const HTTP: usize = 5_000;
const STREAMS: usize = 2_000;
/// Until memory that was only needed for a moment is given back.
const SETTLE: Duration = Duration::from_secs(2);
/// What ours may take, KiB.
const PER_HTTP: f64 = 3.0;
const PER_STREAM: f64 = 24.0;
const IDLE: f64 = 12.0;

/// Measures all programs, one after the other.
///
/// # Errors
/// An application does not start.
pub fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let application = Application::start(bench)?;
    let (_server, streams) = bytes::server(bench)?;
    let (mut idle, mut http, mut tcp) = (Vec::new(), Vec::new(), Vec::new());
    for peer in Peer::plain() {
        let ours = peer.program == Program::Outrigger;
        let row = |what: &str, unit, measured: Outcome<f64>, target| {
            let name = format!("{}: {what}", peer.name());
            let target = Some(target).filter(|_| ours);
            match (measured, target) {
                (Ok(measured), Some(target)) => Row::at_most(&name, unit, measured, target),
                (Ok(measured), None) => Row::number(&name, unit, measured),
                (Err(why), target) => Row::missing(&name, unit, target, why),
            }
        };
        let kept = kept_alive(bench, peer, application.http1);
        idle.push(row("idle", "MiB", kept.clone().map(|(idle, _)| idle / 1024.0), IDLE));
        http.push(row("each idle HTTP connection", "KiB", kept.map(|(_, each)| each), PER_HTTP));
        let open = carried(bench, peer, streams);
        let side = |side: fn(&(f64, f64)) -> f64| open.as_ref().map(side).map_err(String::clone);
        tcp.push(row("each idle mTLS TCP connection, caller", "KiB", side(|sides| sides.0), PER_STREAM));
        tcp.push(row("each idle mTLS TCP connection, callee", "KiB", side(|sides| sides.1), PER_STREAM));
    }
    report.extend(idle.into_iter().chain(http).chain(tcp).collect());
    Ok(())
}

/// KiB of one proxy that has answered one request; KiB for each idle HTTP connection more.
fn kept_alive(bench: &Bench, peer: Peer, application: SocketAddr) -> Outcome<(f64, f64)> {
    let pair = peer.start(bench, job(Shape::OneHop, application))?;
    application::check(pair.entry, Body::Small)?;
    let (before, after) = grown(&pair, HTTP, || ask_and_stay(pair.entry))?;
    let (before, after) = (before.iter().sum::<f64>(), after.iter().sum::<f64>());
    Ok((before, (after - before) / HTTP as f64))
}

/// KiB for each idle byte stream, caller's and callee's side.
fn carried(bench: &Bench, peer: Peer, application: SocketAddr) -> Outcome<(f64, f64)> {
    let pair = peer.start(bench, job(Shape::Bytes, application))?;
    drop(bytes::open(pair.entry).map_err(|error| error.to_string())?);
    let (before, after) = grown(&pair, STREAMS, || bytes::open(pair.entry))?;
    let mut each = before.iter().zip(after).map(|(before, after)| (after - before) / STREAMS as f64);
    Ok((each.next().unwrap_or(f64::NAN), each.next().unwrap_or(f64::NAN)))
}

/// Resident KiB of each process before and after so many connections were opened.
fn grown(
    pair: &Pair,
    count: usize,
    open: impl Fn() -> std::io::Result<TcpStream>,
) -> Outcome<(Vec<f64>, Vec<f64>)> {
    let resident = || pair.processes.iter().map(Process::memory).map(|memory| memory.resident as f64);
    sleep(SETTLE);
    let before = resident().collect();
    let opened: std::io::Result<Vec<TcpStream>> = (0..count).map(|_| open()).collect();
    let opened = opened.map_err(|error| format!("a connection of {count} failed: {error}"))?;
    sleep(SETTLE);
    let after = resident().collect();
    still_open(&opened)?;
    Ok((before, after))
}

/// None was closed by the other side meanwhile: memory would be that of fewer.
fn still_open(opened: &[TcpStream]) -> Outcome<()> {
    let closed = opened.iter().filter(|stream| {
        let quiet = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        !matches!(quiet, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    });
    match closed.count() {
        0 => Ok(()),
        closed => Err(format!("{closed} of {} idle connections were closed", opened.len())),
    }
}

/// A kept-alive connection that has had one answer.
fn ask_and_stay(entry: SocketAddr) -> std::io::Result<TcpStream> {
    let mut client = Client::connect(entry)?;
    client.ask()?;
    Ok(client.stream)
}

/// Not pinned: no CPU time is measured.
fn job(shape: Shape, application: SocketAddr) -> Job {
    Job { shape, between: Http::One, outside: Http::One, application, workers: 1, cpus: None }
}
