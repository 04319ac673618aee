//! Where the controller itself runs: from its own container come the mesh's name, the scope, and what sidecars
//! must mount to reach the control socket.

use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::InspectContainerOptions;
use outrigger_model::label::ENABLE;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::scope::{COMPOSE_PROJECT, COMPOSE_SERVICE, Own, Scope};
use crate::settings::{ScopeSetting, Settings};
use crate::source::docker::connect::{ConnectError, connect};
use crate::source::docker::own::container_id;
use crate::source::docker::record::Container;
use crate::source::docker::watch::{Seen, is_missing};

/// First and longest pause while the engine is not there.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Where the controller runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// What it looks at.
    pub scope: Scope,
    /// What sidecars mount at the control socket's directory: a volume or a path of the host.
    pub control_source: String,
}

/// What is missing around the controller.
#[derive(Debug, thiserror::Error)]
pub enum SurroundingsError {
    /// No name for the mesh.
    #[error(
        "this mesh has no name: set OUTRIGGER_MESH (the controller is in no compose project that would lend its own)"
    )]
    NoMesh,
    /// The control socket's directory is the container's own.
    #[error(
        "nothing is mounted at {0} in the controller's container, so no sidecar could reach the control socket: \
         add a volume there (compose: volumes: [\"outrigger-run:{0}\"])"
    )]
    NoVolume(String),
}

enum AskError {
    Connect(ConnectError),
    Engine(bollard::errors::Error),
}

/// Asks the engine about the own container, for as long as it takes; `told` says meanwhile what is missing.
///
/// # Errors
/// What the user must set before it makes sense to go on.
pub async fn surroundings(
    settings: &Settings,
    told: &watch::Sender<Seen>,
) -> Result<Surroundings, SurroundingsError> {
    let mut pause = PAUSE.0;
    loop {
        let error = match own_container(&settings.docker_host).await {
            Ok(own) => return of(settings, own.as_ref()),
            Err(AskError::Connect(error)) => error.to_string(),
            Err(AskError::Engine(error)) => format!("the Docker engine refused: {error}"),
        };
        told.send_modify(|seen| {
            if seen.error.as_ref() != Some(&error) {
                tracing::warn!("{error}; trying again");
            }
            seen.error = Some(error);
        });
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// The own container; none when the process runs in none that this engine knows.
async fn own_container(host: &str) -> Result<Option<Container>, AskError> {
    let docker: Docker = connect(host).await.map_err(AskError::Connect)?.docker;
    let Some(id) = container_id() else { return Ok(None) };
    match docker.inspect_container(&id, None::<InspectContainerOptions>).await {
        Ok(found) => Ok(Container::of(found)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(AskError::Engine(error)),
    }
}

fn of(settings: &Settings, own: Option<&Container>) -> Result<Surroundings, SurroundingsError> {
    let project = own.and_then(|own| own.label(COMPOSE_PROJECT)).map(str::to_owned);
    let mesh = settings.mesh.clone().or_else(|| project.clone()).ok_or(SurroundingsError::NoMesh)?;
    let scope = Scope {
        project: match settings.scope {
            ScopeSetting::Engine => None,
            ScopeSetting::Project => Some(project.clone().unwrap_or_else(|| mesh.clone())),
        },
        own: own.map(|own| Own {
            id: own.id.clone(),
            service: own.label(COMPOSE_SERVICE).map(str::to_owned),
            whole_project: own.label(ENABLE) == Some("true"),
            project,
        }),
        mesh,
    };
    let directory = settings.control.parent().unwrap_or(Path::new("/")).display().to_string();
    let control_source = match own {
        None => directory,
        Some(own) => own.mounts.get(&directory).cloned().ok_or(SurroundingsError::NoVolume(directory))?,
    };
    Ok(Surroundings { scope, control_source })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use outrigger_model::Health;

    use super::*;
    use crate::source::docker::record::Run;

    fn own(mounts: &[(&str, &str)], labels: &[(&str, &str)]) -> Container {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        Container {
            id: "own".into(),
            name: "shop-outrigger-1".into(),
            image: String::new(),
            labels: pairs(labels),
            created: 0,
            run: Run::Created,
            health: Health::Unchecked,
            network_mode: String::new(),
            networks: BTreeMap::new(),
            aliases: BTreeSet::new(),
            exposed: BTreeSet::new(),
            published: BTreeSet::new(),
            user: String::new(),
            stop_signal: 15,
            stop_timeout: 10,
            platform: "linux".into(),
            mounts: pairs(mounts),
            start_error: String::new(),
            stopping: false,
        }
    }

    #[test]
    fn mesh_scope_and_volume_come_from_the_own_container() {
        let labels = [(COMPOSE_PROJECT, "shop"), (COMPOSE_SERVICE, "outrigger"), (ENABLE, "true")];
        let own = own(&[("/run/outrigger", "shop_run")], &labels);
        let found = of(&Settings::default(), Some(&own)).unwrap();
        assert_eq!((found.scope.mesh.as_str(), found.scope.project.as_deref()), ("shop", Some("shop")));
        assert_eq!(found.control_source, "shop_run");
        assert!(found.scope.own.unwrap().whole_project);
        let engine =
            Settings { scope: ScopeSetting::Engine, mesh: Some("all".into()), ..Settings::default() };
        let found = of(&engine, Some(&own)).unwrap();
        assert_eq!((found.scope.mesh.as_str(), found.scope.describe().as_str()), ("all", "engine"));
    }

    #[test]
    fn what_is_missing_is_said_with_the_way_out() {
        let nameless = of(&Settings::default(), None).unwrap_err().to_string();
        assert!(nameless.contains("OUTRIGGER_MESH"), "{nameless}");
        let settings = Settings { mesh: Some("shop".into()), ..Settings::default() };
        let bare = of(&settings, Some(&own(&[], &[]))).unwrap_err().to_string();
        assert!(bare.contains("/run/outrigger") && bare.contains("volumes"), "{bare}");
        assert_eq!(of(&settings, None).unwrap().control_source, "/run/outrigger");
    }
}
