use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_wire::{Held, ProxyConfig};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Apply;
use crate::identity::Identity;
use crate::state::{LAST_GOOD, State, StateError};

/// Pause before a disk that failed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Why the last good configuration does not run.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{0}")]
    Corrupt(String),
    #[error("{}", .0.join("; "))]
    Apply(Vec<String>),
}

/// Runs the last good configuration, if there is one; what runs is held.
pub fn load(state: &State, apply: &mut Apply) -> Held {
    let file = state.path(LAST_GOOD);
    match read(state).and_then(|config| {
        let Some(config) = config else { return Ok(None) };
        let held = Held::of(&config);
        apply(config, held.version()).map_err(LoadError::Apply)?;
        Ok(Some(held))
    }) {
        Ok(Some(held)) => {
            tracing::info!(version = held.version(), "running the last good configuration");
            held
        }
        Ok(None) => Held::default(),
        Err(error) => {
            complain(state, &file, &error);
            Held::default()
        }
    }
}

fn read(state: &State) -> Result<Option<ProxyConfig>, LoadError> {
    let Some(bytes) = state.read(LAST_GOOD)? else { return Ok(None) };
    let config: ProxyConfig =
        serde_json::from_slice(&bytes).map_err(|error| LoadError::Corrupt(error.to_string()))?;
    config.check().map_err(|error| LoadError::Corrupt(error.to_string()))?;
    Ok(Some(config))
}

fn complain(state: &State, file: &Path, error: &LoadError) {
    let file = file.display();
    match error {
        LoadError::Corrupt(_) => match state.set_aside(LAST_GOOD) {
            Ok(aside) => tracing::error!(
                "{file} cannot be used ({error}): moved to {}; starting without it, the controller sends the \
                 configuration again",
                aside.display()
            ),
            Err(moving) => tracing::error!(
                "{file} cannot be used ({error}) and cannot be moved away ({moving}): remove it; starting without it"
            ),
        },
        LoadError::State(_) => tracing::error!(
            "the last good configuration cannot be read ({error}): starting without it, the controller sends it again"
        ),
        LoadError::Apply(_) => tracing::error!(
            "the configuration in {file} does not run ({error}): starting without it, the controller sends a new one"
        ),
    }
}

/// Stores every configuration that runs and every new identity. A disk that fails is said once, and tried again;
/// what runs is not touched by it.
pub async fn follow(
    state: State,
    mut good: watch::Receiver<Option<Arc<ProxyConfig>>>,
    mut identity: watch::Receiver<Option<Arc<Identity>>>,
) {
    // What there was before these were subscribed came from the disk.
    let mut failing = false;
    loop {
        let (mut config_is_new, mut identity_is_new) = (failing, failing);
        tokio::select! {
            Ok(()) = good.changed() => config_is_new = true,
            Ok(()) = identity.changed() => identity_is_new = true,
            () = sleep(RETRY), if failing => {}
            else => return,
        }
        let config = good.borrow().clone().filter(|_| config_is_new);
        let own = identity.borrow().clone().filter(|_| identity_is_new);
        let disk = state.clone();
        // A slow disk must not hold up the stream or a probe.
        let stored = tokio::task::spawn_blocking(move || store(&disk, config.as_deref(), own.as_deref()));
        failing = match stored.await {
            Ok(Err(error)) => {
                if !failing {
                    tracing::error!(
                        "{error}: the state cannot be stored. Serving goes on; after a restart with the controller \
                         away there would be nothing to serve. Free some space, or mount a volume that can be written"
                    );
                }
                true
            }
            Ok(Ok(())) => {
                if failing {
                    tracing::info!("the state can be stored again");
                }
                false
            }
            Err(stopped) => {
                tracing::debug!(%stopped, "storing was cut off");
                true
            }
        };
    }
}

fn store(state: &State, config: Option<&ProxyConfig>, identity: Option<&Identity>) -> Result<(), StateError> {
    if let Some(config) = config {
        let json =
            serde_json::to_vec_pretty(config).expect("configuration types have string keys and serialise");
        state.write(LAST_GOOD, &json)?;
    }
    identity.map_or(Ok(()), |identity| identity.store(state))
}
