//! Which task the controller itself is: what runs beside it is on its EC2 instance.

use std::collections::HashMap;
use std::time::Duration;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use tokio::sync::watch;
use tokio::time::sleep;

use super::container::TASK;
use crate::source::docker::connect::{ConnectError, connect};
use crate::source::docker::record::Container;
use crate::source::docker::watch::is_missing;

/// First and longest pause while the engine does not answer.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What the controller knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Own {
    /// The engine was not asked yet.
    #[default]
    Unasked,
    /// It runs in no container of ECS.
    NoTask,
    /// The ARN of its task.
    Task(String),
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the Docker engine refused: {0}")]
    Engine(#[from] bollard::errors::Error),
}

/// Asks the engine at `host` for as long as it takes, tells, and stays.
pub async fn own_task(host: String, tell: watch::Sender<Own>) {
    let mut pause = PAUSE.0;
    let own = loop {
        match ask(&host).await {
            Ok(own) => break own,
            Err(error) => tracing::debug!(%error, "the own container is not known yet"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    };
    tracing::info!(?own, "found my place");
    tell.send_replace(own);
    std::future::pending().await
}

/// By the own process, whose number is the host's: mounts and names are the task's pause container's in awsvpc mode.
async fn ask(host: &str) -> Result<Own, AskError> {
    let docker = connect(host).await?.docker;
    let filters = HashMap::from([("label".to_owned(), vec![TASK.to_owned()])]);
    let options = ListContainersOptions { filters: Some(filters), ..ListContainersOptions::default() };
    for id in docker.list_containers(Some(options)).await?.into_iter().filter_map(|found| found.id) {
        let found = match docker.inspect_container(&id, None::<InspectContainerOptions>).await {
            Ok(found) => Container::of(found),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(error.into()),
        };
        let is_own =
            |container: &Container| container.instance().is_some_and(|run| run.pid == std::process::id());
        if let Some(task) = found.as_ref().filter(|found| is_own(found)).and_then(|found| found.label(TASK)) {
            return Ok(Own::Task(task.to_owned()));
        }
    }
    Ok(Own::NoTask)
}
