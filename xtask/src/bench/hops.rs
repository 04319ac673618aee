//! CPU per request over one and two proxies: kept-alive HTTP/1.1, HTTP/2, a new connection for each, two workers.

use super::application::{self, Application, Body};
use super::compare::{Contest, Done, Work};
use super::peer::{Http, Job, Pair, Peer, Shape};
use super::program::Program;
use super::report::Report;
use super::{Bench, Outcome};

const REQUESTS: &str = "µs";
const PER_SECOND: &str = "requests/s";

/// One hop, plaintext.
///
/// # Errors
/// The application does not start.
pub fn one(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let application = Application::start(bench)?;
    let job = job(bench, Shape::OneHop, &application);
    let work = |pair: &Pair, seconds| http1(bench, pair, Body::Small, false, seconds);
    let contest = contest(&work);
    let measured = contest.hold(bench, jobs(Peer::plain(), &job));
    report.extend(contest.rows(&measured, &[(Program::Nginx, 1.0), (Program::Envoy, 0.3)]));
    Ok(())
}

/// Two hops with mutual TLS between.
///
/// # Errors
/// The application does not start.
pub fn two(bench: &Bench, report: &mut Report, body: Body) -> Outcome<()> {
    let application = Application::start(bench)?;
    let job = job(bench, Shape::TwoHops, &application);
    let work = |pair: &Pair, seconds| http1(bench, pair, body, false, seconds);
    let contest = contest(&work);
    let measured = contest.hold(bench, jobs(Peer::by_hop(), &job));
    let targets: &[_] = match body {
        Body::Small => &[(Program::Haproxy, 0.95), (Program::Envoy, 0.3)],
        Body::Large => &[(Program::Haproxy, 0.75)],
    };
    report.extend(contest.rows(&measured, targets));
    Ok(())
}

/// Two hops, HTTP/2 from load and to the application, as gRPC uses it. nginx calls with HTTP/1.1 whatever it is
/// called with.
///
/// # Errors
/// The application does not start.
pub fn http2(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let application = Application::start(bench)?;
    let job = Job { outside: Http::Two, ..job(bench, Shape::TwoHops, &application) };
    let by_program = |(peer, job): (Peer, Job)| match peer.program {
        Program::Nginx => (peer, job),
        _ => (peer, Job { application: application.http2, ..job }),
    };
    let work = |pair: &Pair, seconds| {
        let requests = application::http2(bench, pair.entry, seconds)?;
        Ok(Done { pieces: requests, seconds: seconds as f64 })
    };
    let contest = contest(&work);
    let jobs = jobs(Peer::by_hop(), &job).into_iter().map(by_program).collect();
    let measured = contest.hold(bench, jobs);
    report.extend(contest.rows(&measured, &[(Program::Haproxy, 1.15), (Program::Envoy, 0.42)]));
    Ok(())
}

/// Each request on a connection of its own, carried as bytes: so each makes all a new mutual-TLS connection.
///
/// # Errors
/// The application does not start.
pub fn connections(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let application = Application::start(bench)?;
    let job = job(bench, Shape::Bytes, &application);
    let work = |pair: &Pair, seconds| http1(bench, pair, Body::Small, true, seconds);
    let contest = contest(&work);
    let measured = contest.hold(bench, jobs(Peer::plain(), &job));
    report.extend(contest.rows(&measured, &[(Program::Envoy, 0.65)]));
    Ok(())
}

/// Ours with one worker and with two, on the same CPUs: two, unless there are more.
///
/// # Errors
/// The application does not start.
pub fn workers(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let application = Application::start(bench)?;
    let ours = Peer { program: Program::Outrigger, between: None };
    let job = |workers| {
        let cpus = bench.cpus.pair.clone();
        Job { workers, cpus, ..job(bench, Shape::TwoHops, &application) }
    };
    let work = |pair: &Pair, seconds| http1(bench, pair, Body::Small, false, seconds);
    let contest = contest(&work);
    let named = [(1, "one worker"), (2, "two workers")].map(|(n, name)| (name.to_owned(), ours, job(n)));
    let measured = contest.named(bench, named.to_vec());
    report.extend(contest.rows(&measured, &[]));
    report.add(contest.ratio(&measured, "times one worker", 1.15));
    Ok(())
}

fn contest<'a>(work: &'a Work<'a>) -> Contest<'a> {
    Contest { unit: REQUESTS, scale: 1.0, pieces: PER_SECOND, work }
}

fn http1(bench: &Bench, pair: &Pair, body: Body, anew: bool, seconds: u64) -> Outcome<Done> {
    application::check(pair.entry, body)?;
    let requests = application::http1(bench, pair.entry, body, anew, seconds)?;
    Ok(Done { pieces: requests, seconds: seconds as f64 })
}

fn job(bench: &Bench, shape: Shape, application: &Application) -> Job {
    let cpus = bench.cpus.proxies.clone();
    Job { shape, between: Http::One, outside: Http::One, application: application.http1, workers: 1, cpus }
}

fn jobs(peers: Vec<Peer>, job: &Job) -> Vec<(Peer, Job)> {
    peers.into_iter().map(|peer| (peer, job.clone())).collect()
}
