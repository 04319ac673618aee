//! A byte stream in bulk: sender and receiver of our own, each a process on the load's CPU
//! (`bench bytes-server ADDRESS`, `bench bytes-load ADDRESS MIB`).
//!
//! A question is a letter and a length, big-endian: `d` has the server send so many bytes, `u` says that so many come,
//! answered with one byte when all are there. A connection may ask again and again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::compare::{Contest, Done};
use super::peer::{Http, Job, Pair, Peer, Shape};
use super::process::{Process, free_port};
use super::program::Program;
use super::report::Report;
use super::{Bench, Outcome, application};

/// What is read and written at once.
const CHUNK: usize = 64 * 1024;
/// Connections that carry at a time, half in each direction.
const CONNECTIONS: usize = 4;
/// A stream that stands still for so long has failed.
const STALLED: Duration = Duration::from_secs(10);
/// Of a connection's thread: thousands are open when memory is measured.
const STACK: usize = 128 * 1024;
/// Carried for each second of `--seconds`, MiB: about what a CPU encrypts twice and decrypts twice.
const PER_SECOND: u64 = 384;
const MIB: u64 = 1024 * 1024;

/// Measures CPU time per gigabyte.
///
/// # Errors
/// The server does not start.
pub fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let (_server, application) = server(bench)?;
    let cpus = bench.cpus.proxies.clone();
    let job =
        Job { shape: Shape::Bytes, between: Http::One, outside: Http::One, application, workers: 1, cpus };
    let work = |pair: &Pair, seconds| bulk(bench, pair, seconds);
    let contest = Contest { unit: "s/GiB", scale: 1e-6, pieces: "GiB/s", work: &work };
    let measured = contest.hold(bench, Peer::plain().into_iter().map(|peer| (peer, job.clone())).collect());
    report.extend(contest.rows(&measured, &[(Program::Envoy, 1.0), (Program::Haproxy, 0.75)]));
    Ok(())
}

fn bulk(bench: &Bench, pair: &Pair, seconds: u64) -> Outcome<Done> {
    let mib = seconds * PER_SECOND;
    let begun = Instant::now();
    carry(bench, pair.entry, mib)?;
    Ok(Done { pieces: mib as f64 / 1024.0, seconds: begun.elapsed().as_secs_f64() })
}

/// So many MiB, from a process of its own.
///
/// # Errors
/// A stream broke.
pub fn carry(bench: &Bench, entry: SocketAddr, mib: u64) -> Outcome<()> {
    let mut command = role("bytes-load")?;
    command.arg(entry.to_string()).arg(mib.to_string());
    application::output(bench, &command).map(drop)
}

/// Starts the application.
///
/// # Errors
/// It does not start.
pub fn server(bench: &Bench) -> Outcome<(Process, SocketAddr)> {
    let address = free_port()?;
    let mut command = role("bytes-server")?;
    command.arg(address.to_string());
    let mut process = Process::start("bytes-server", &command, bench.cpus.load.as_deref(), &bench.scratch)?;
    process.listens(address)?;
    Ok((process, address))
}

fn role(name: &str) -> Outcome<Command> {
    let own = std::env::current_exe().map_err(|error| format!("own program: {error}"))?;
    let mut command = Command::new(own);
    command.args(["bench", name]);
    Ok(command)
}

/// The application; never ends by itself.
///
/// # Errors
/// The address is wrong, or taken.
pub fn serve(address: &str) -> Outcome<()> {
    let listener = TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
    for stream in listener.incoming().flatten() {
        let answer = move || {
            // The other side is told by what it does not get.
            let _ended = answer(stream);
        };
        let _no_thread = thread::Builder::new().stack_size(STACK).spawn(answer);
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let mut question = [0; 9];
        stream.read_exact(&mut question)?;
        let [letter, length @ ..] = question;
        let length = u64::from_be_bytes(length);
        if letter == b'd' {
            send(&mut stream, length)?;
        } else {
            receive(&mut stream, length)?;
            stream.write_all(b"!")?;
        }
    }
}

/// So many MiB through `address`, over several connections; ends when all have arrived.
///
/// # Errors
/// A connection broke, or stood still.
pub fn load(address: &str, mib: &str) -> Outcome<()> {
    let mib: u64 = mib.parse().map_err(|_| format!("{mib}: not a number"))?;
    let address: SocketAddr = address.parse().map_err(|_| format!("{address}: not an address"))?;
    let share = mib * MIB / CONNECTIONS as u64;
    let carry = move |number: usize| -> std::io::Result<()> {
        let mut stream = connect(address)?;
        if number.is_multiple_of(2) {
            ask(&mut stream, b'd', share)?;
            receive(&mut stream, share)
        } else {
            ask(&mut stream, b'u', share)?;
            send(&mut stream, share)?;
            receive(&mut stream, 1)
        }
    };
    let threads: Vec<_> = (0..CONNECTIONS).map(|number| thread::spawn(move || carry(number))).collect();
    for thread in threads {
        let ended = thread.join().map_err(|_| "a thread ended")?;
        ended.map_err(|error| format!("a stream did not carry all: {error}"))?;
    }
    Ok(())
}

/// A connection that has carried a byte, and stays.
///
/// # Errors
/// It is refused, or carries nothing.
pub fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = connect(address)?;
    ask(&mut stream, b'd', 1)?;
    receive(&mut stream, 1)?;
    Ok(stream)
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, letter: u8, length: u64) -> std::io::Result<()> {
    let mut question = vec![letter];
    question.extend(length.to_be_bytes());
    stream.write_all(&question)
}

fn send(stream: &mut TcpStream, length: u64) -> std::io::Result<()> {
    let chunk = vec![7; CHUNK];
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let part = chunk.get(..most).unwrap_or_default();
        stream.write_all(part)?;
        left -= part.len() as u64;
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, length: u64) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let room = chunk.get_mut(..most).unwrap_or_default();
        match stream.read(room)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => left -= read as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_carry_all_and_a_connection_asks_again() {
        let address = free_port().unwrap();
        thread::spawn(move || serve(&address.to_string()));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < STALLED);
        }
        load(&address.to_string(), "4").unwrap();
        let mut stream = open(address).unwrap();
        ask(&mut stream, b'u', 5).unwrap();
        stream.write_all(b"12345").unwrap();
        receive(&mut stream, 1).unwrap();
    }
}
