//! The ladder: how a task's traffic is captured.

use outrigger_model::{Capture, Mode};

use super::task::{Network, Task};

/// Picks the way, or says why the asked one cannot be.
///
/// # Errors
/// For a person: what stands against it, and the way out.
pub fn choose(task: &Task<'_>, asked: Option<Capture>, mode: Mode, serves: bool) -> Result<Capture, String> {
    let there = match (&task.network, task.fargate) {
        (Network::Other(mode), _) => {
            return Err(format!("networkMode: {mode}: there is no network to mesh: write awsvpc"));
        }
        (Network::Awsvpc, true) => vec![Capture::Platform, Capture::Names, Capture::Explicit],
        (Network::Awsvpc, false) => Capture::ALL.to_vec(),
        (Network::Bridge | Network::Host, true) => {
            return Err("networkMode: Fargate has awsvpc alone: write \"networkMode\": \"awsvpc\"".into());
        }
        (Network::Bridge | Network::Host, false) => vec![Capture::Explicit],
    };
    let chosen = match asked {
        Some(asked) if there.contains(&asked) => asked,
        Some(asked) => {
            return Err(format!(
                "outrigger.capture: {} is not there: {}",
                asked.as_str(),
                if task.fargate {
                    "no container of a Fargate task may set rules: write platform, names or explicit"
                } else {
                    "containers in bridge and host mode have no network of their own: write explicit, or \"networkMode\": \
                     \"awsvpc\""
                }
            ));
        }
        None => unasked(task, mode, serves),
    };
    if mode == Mode::Strict && !chosen.takes_inbound() {
        return Err(match task.network {
            Network::Awsvpc => format!(
                "strict cannot be enforced with capture {}, which leaves inbound alone: write outrigger.capture: {}, or \
                 outrigger.mode: permissive",
                chosen.as_str(),
                if task.fargate { "platform" } else { "transparent" }
            ),
            _ => "strict cannot be enforced in bridge and host mode, where calls from outside pass the sidecar by: write \
                  \"networkMode\": \"awsvpc\", or outrigger.mode: permissive"
                .into(),
        });
    }
    Ok(chosen)
}

/// A task that serves a port is captured by the platform: outsiders reach it, and other services use its number, on which
/// the sidecar could not listen for them. A pure client needs names alone.
fn unasked(task: &Task<'_>, mode: Mode, serves: bool) -> Capture {
    match (&task.network, task.fargate) {
        (Network::Awsvpc, false) => Capture::Transparent,
        (Network::Awsvpc, true) if serves || mode == Mode::Strict => Capture::Platform,
        (Network::Awsvpc, true) => Capture::Names,
        _ => Capture::Explicit,
    }
}
