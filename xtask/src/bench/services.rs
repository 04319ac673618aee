//! A large mesh: 1,000 services of 3 endpoints. How soon a proxy that knows them serves, and what it takes; how soon one
//! service that changed is applied by ours.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::certificates::DOMAIN;
use super::process::{Process, free_port};
use super::program::{Program, fill};
use super::report::{Report, Row};
use super::{Bench, Outcome, ask, scale};

const SERVICES: usize = 1_000;
/// Starts of which the median counts.
const STARTS: usize = 5;
/// Until memory that was only needed to start is given back.
const SETTLE: Duration = Duration::from_secs(2);
/// What ours may take: ms, MiB, ms.
const READY: f64 = 50.0;
const RESIDENT: f64 = 25.0;
const APPLIED: f64 = 1.0;

/// Measures all programs.
///
/// # Errors
/// None: what cannot be measured is said in its row.
pub fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let mut rows: [Vec<Row>; 2] = Default::default();
    let [ready, resident] = &mut rows;
    for program in Program::ALL {
        let name = |what: &str| format!("{}: {what}", program.name());
        let target = |target: f64| Some(target).filter(|_| program == Program::Outrigger);
        let (is_ready, is_resident) = (name("from start to ready"), name("resident"));
        match starts(bench, program) {
            Ok((times, memory)) => {
                ready.push(Row::samples(&is_ready, "ms", &times).wanted(target(READY)));
                resident.push(Row::number(&is_resident, "MiB", memory).wanted(target(RESIDENT)));
            }
            Err(why) => {
                ready.push(Row::missing(&is_ready, "ms", target(READY), why.clone()));
                resident.push(Row::missing(&is_resident, "MiB", target(RESIDENT), why));
            }
        }
    }
    report.extend(rows.into_iter().flatten().collect());
    Ok(())
}

/// How soon a sidecar that knows them all runs one that changed.
///
/// # Errors
/// The example that does it cannot be built.
pub fn change(report: &mut Report) -> Outcome<()> {
    let printed = scale::example("outrigger-sidecar", "apply", &[&SERVICES.to_string()])?;
    let field = |name: &str| printed.get(name).and_then(Value::as_f64).ok_or(format!("no {name} printed"));
    report.add(Row::at_most(
        "outrigger: from the change as received to running it",
        "ms",
        field("apply_ms")?,
        APPLIED,
    ));
    report.add(Row::number("of that read and checked", "ms", field("read_ms")?));
    Ok(())
}

/// Milliseconds of each start, and MiB after the last.
fn starts(bench: &Bench, program: Program) -> Outcome<(Vec<f64>, f64)> {
    let mut times = Vec::new();
    let mut resident = 0.0;
    for start in 1..=STARTS {
        let (process, took) = match program {
            Program::Outrigger => ours(bench)?,
            _ => theirs(bench, program)?,
        };
        times.push(took);
        if start == STARTS {
            sleep(SETTLE);
            resident = process.memory().resident as f64 / 1024.0;
        }
    }
    Ok((times, resident))
}

fn theirs(bench: &Bench, program: Program) -> Outcome<(Process, f64)> {
    let template = match program {
        Program::Nginx => include_str!("peers/nginx/services.conf"),
        Program::Haproxy => include_str!("peers/haproxy/services.cfg"),
        Program::Envoy => include_str!("peers/envoy/services.yaml"),
        Program::Outrigger => return Err("has no template of services".into()),
    };
    let (entry, name) = (free_port()?, format!("{}-services", program.name()));
    let words = [
        ("entry", entry.to_string()),
        ("entry_port", entry.port().to_string()),
        ("folder", bench.scratch.0.display().to_string()),
        ("name", name.clone()),
        ("workers", "1".into()),
    ];
    let text = fill(&repeated(template), &words);
    let file = bench.scratch.write(&format!("{name}.{}", program.suffix()), &text)?;
    let command = program.command(bench, &file, &bench.certificates.client, 1)?;
    let begun = Instant::now();
    let mut process = Process::start(&name, &command, None, &bench.scratch)?;
    process.listens(entry)?;
    Ok((process, begun.elapsed().as_secs_f64() * 1_000.0))
}

/// A template in which what stands between `# each service` and `# end` is there for each of them.
fn repeated(template: &str) -> String {
    let mut text = String::new();
    for (index, block) in template.split("# each service\n").enumerate() {
        match block.split_once("# end\n") {
            Some((each, rest)) if index > 0 => {
                for number in 0..SERVICES {
                    text += &fill(each, &place(number));
                }
                text += rest;
            }
            _ => text += block,
        }
    }
    text
}

/// What tells one service from another.
fn place(number: usize) -> [(&'static str, String); 3] {
    let (high, low) = ((number / 250).to_string(), (number % 250).to_string());
    [("number", number.to_string()), ("high", high), ("low", low)]
}

/// Our sidecar, started anew with what it kept on disk, and no controller there.
fn ours(bench: &Bench) -> Outcome<(Process, f64)> {
    let (entry, admin) = (free_port()?, free_port()?);
    let state = state(bench, entry)?;
    let mut command = Command::new(&bench.binaries.sidecar);
    command.env("OUTRIGGER_STATE", &state).env("OUTRIGGER_CONTROL", state.join("nobody.sock"));
    command.env("OUTRIGGER_ADMIN", admin.to_string()).env("OUTRIGGER_WORKERS", "1");
    command.env("OUTRIGGER_LOG", "warn");
    let begun = Instant::now();
    let mut process = Process::start("outrigger-services", &command, None, &bench.scratch)?;
    process.until("become ready", || ask::get(admin, "/ready").is_some_and(|(code, _)| code == 200))?;
    let took = begun.elapsed().as_secs_f64() * 1_000.0;
    process.listens(entry)?;
    Ok((process, took))
}

/// A state directory as a sidecar leaves it.
fn state(bench: &Bench, entry: SocketAddr) -> Outcome<PathBuf> {
    let own = &bench.certificates.client.folder;
    let folder = bench.scratch.path("state");
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(fault)?;
    let copy = |from: &Path, to: &str| std::fs::copy(from, folder.join(to)).map(|_| ()).map_err(fault);
    copy(&bench.certificates.client.bundle, "identity.pem")?;
    copy(&own.join("roots.pem"), "roots.pem")?;
    let mut config = json!({
        "proxy": {
            "identity": format!("{DOMAIN}/client"),
            "workload": "client-1",
            "listeners": { "outbound": { "address": entry, "kind": "outbound", "target": "original-destination" } },
        },
        "services": {},
        "clusters": {},
    });
    for number in 0..SERVICES {
        let (key, cluster) = (format!("s{number}.bench"), format!("s{number}.bench:8080"));
        let [_, (_, high), (_, low)] = place(number);
        let endpoint = |last: u8| json!({ "workload": format!("s{number}-{last}"), "address": format!("10.{high}.{low}.{last}:15008") });
        let service = json!({
            "names": [format!("s{number}"), key],
            "virtual_addresses": [format!("127.64.{high}.{low}")],
            "ports": { "8080": { "cluster": cluster } },
        });
        let target = json!({
            "service": key,
            "port": 8080,
            "identity": format!("{DOMAIN}/s{number}"),
            "endpoints": [endpoint(1), endpoint(2), endpoint(3)],
        });
        let put = |config: &mut Value, map: &str, key: String, value| {
            if let Some(map) = config.get_mut(map).and_then(Value::as_object_mut) {
                map.insert(key, value);
            }
        };
        put(&mut config, "clusters", cluster, target);
        put(&mut config, "services", key, service);
    }
    std::fs::write(folder.join("last-good.json"), config.to_string()).map_err(fault)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_there_for_each_service() {
        let text = repeated(
            "a\n# each service\ns@number@ 10.@high@.@low@.1\n# end\nb\n# each service\nt@number@\n# end\n",
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 * SERVICES + 2);
        assert_eq!(lines[..2], ["a", "s0 10.0.0.1"]);
        assert_eq!(lines[SERVICES..SERVICES + 3], ["s999 10.3.249.1", "b", "t0"]);
    }
}
