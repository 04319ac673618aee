//! Latency at a rate that all of them carry with ease: two hops, mutual TLS between, each with the faster hop. The load
//! (`bench rate ADDRESS SECONDS`, a process on the load's CPU) asks when a request is due, not when the one before
//! is answered; what waits for its connection counts from when it was due.

use std::net::SocketAddr;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::application::{self, Application, Body};
use super::client::Client;
use super::peer::{Http, Job, Pair, Peer, Shape};
use super::program::Program;
use super::report::{Report, Row};
use super::{Bench, Outcome};

/// Requests per second, over so many connections.
const RATE: u32 = 2_000;
const CONNECTIONS: u32 = 32;
/// What is left out at the beginning.
const BEGINNING: Duration = Duration::from_millis(500);
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The three of one measurement, ms.
type Times = [f64; PERCENTILES.len()];

/// Measures in turn, round by round.
///
/// # Errors
/// The application does not start.
pub fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let application = Application::start(bench)?;
    let mut measured = Program::ALL.map(|program| {
        let between = if program == Program::Nginx { Http::One } else { Http::Two };
        let job = Job {
            shape: Shape::TwoHops,
            between,
            outside: Http::One,
            application: application.http1,
            workers: 1,
            cpus: bench.cpus.proxies.clone(),
        };
        let pair = Peer { program, between: None }.start(bench, job);
        (program, pair.map(|pair| (pair, Vec::new())))
    });
    for round in 1..=bench.arguments.rounds {
        for (program, state) in &mut measured {
            let Ok((pair, taken)) = state else { continue };
            match once(bench, pair) {
                Ok(times) => {
                    eprintln!("round {round}: {:<10} {times:?} ms", program.name());
                    taken.push(times);
                }
                Err(why) => *state = Err(why),
            }
        }
    }
    for (index, (percentile, _)) in PERCENTILES.iter().enumerate() {
        for (program, state) in &measured {
            let name = format!("{}, {percentile}", program.name());
            report.add(match state {
                Ok((_, taken)) => {
                    let times: Vec<f64> =
                        taken.iter().filter_map(|times: &Times| times.get(index).copied()).collect();
                    Row::samples(&name, "ms", &times)
                }
                Err(why) => Row::missing(&name, "ms", None, why.clone()),
            });
        }
    }
    Ok(())
}

fn once(bench: &Bench, pair: &Pair) -> Outcome<Times> {
    application::check(pair.entry, Body::Small)?;
    let own = std::env::current_exe().map_err(|error| format!("own program: {error}"))?;
    let mut command = Command::new(own);
    command.args(["bench", "rate", &pair.entry.to_string(), &bench.arguments.seconds.to_string()]);
    let said = application::output(bench, &command)?;
    let times: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    times.try_into().map_err(|_| format!("no percentiles: {said}"))
}

/// Asks at the rate and prints the percentiles.
///
/// # Errors
/// A request failed.
pub fn load(entry: &str, seconds: &str) -> Outcome<()> {
    let entry: SocketAddr = entry.parse().map_err(|_| format!("{entry}: not an address"))?;
    let seconds: u64 = seconds.parse().map_err(|_| format!("{seconds}: not a number"))?;
    let begun = Instant::now();
    let ask = move |number| at_rate(entry, begun, number, Duration::from_secs(seconds));
    let threads: Vec<_> = (0..CONNECTIONS).map(|number| thread::spawn(move || ask(number))).collect();
    let mut times = Vec::new();
    for thread in threads {
        let asked = thread.join().map_err(|_| "a thread ended")?;
        times.extend(asked.map_err(|error| format!("a request failed: {error}"))?);
    }
    times.sort_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    for (_, share) in PERCENTILES {
        let at = ((times.len() as f64 * share) as usize).min(last);
        println!("{:.3}", times.get(at).ok_or("nothing was asked")?);
    }
    Ok(())
}

/// One connection's part: milliseconds of each request.
fn at_rate(entry: SocketAddr, begun: Instant, number: u32, length: Duration) -> std::io::Result<Vec<f64>> {
    let mut client = Client::connect(entry)?;
    let pause = Duration::from_secs(1) * CONNECTIONS / RATE;
    // Connections take turns.
    let mut due = begun + pause * number / CONNECTIONS;
    let mut times = Vec::new();
    while due < begun + BEGINNING + length {
        let early = due.saturating_duration_since(Instant::now());
        sleep(early);
        // A sleep that ends late is the load's fault; a connection that was busy is the proxy's.
        let from = if early.is_zero() { due } else { Instant::now() };
        client.ask()?;
        if due >= begun + BEGINNING {
            times.push(from.elapsed().as_secs_f64() * 1_000.0);
        }
        due += pause;
    }
    Ok(times)
}
