//! The calls to the engine that make, follow and remove containers of ours.

use std::collections::VecDeque;
use std::pin::pin;

use bollard::Docker;
use bollard::container::AttachContainerResults;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerWaitResponse};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions,
    RenameContainerOptions, StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;
use futures_util::future::{Either, join, select};
use futures_util::stream::BoxStream;

use crate::source::docker::record::{Container, Instance};
use crate::source::docker::watch::is_missing;

/// Last lines of a container that are kept.
const LINES: usize = 10;

/// Why a workload got no sidecar.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The image is not there; it is never pulled.
    #[error(
        "the image {0} is not on this engine: build or load it (`docker load`), or name another in OUTRIGGER_SIDECAR_IMAGE"
    )]
    NoImage(String),
    /// The application is not running any more: nothing to do.
    #[error("the application has ended meanwhile")]
    Gone,
    /// The engine refuses.
    #[error("the Docker engine refused to {what}: {source}")]
    Engine {
        /// To do what.
        what: &'static str,
        /// What it said.
        source: Error,
    },
}

impl LaunchError {
    fn of(what: &'static str, image: &str, source: Error) -> Self {
        match &source {
            Error::DockerResponseServerError { status_code: 404, message }
                if message.contains("No such image") =>
            {
                Self::NoImage(image.to_owned())
            }
            Error::DockerResponseServerError { status_code: 404 | 409, message }
                if message.contains("not running") || message.contains("No such container") =>
            {
                Self::Gone
            }
            _ => Self::Engine { what, source },
        }
    }
}

/// A container of ours that was started.
pub struct Launched {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it writes, until it ends.
    output: AttachContainerResults,
    /// How it ends.
    end: BoxStream<'static, Result<ContainerWaitResponse, Error>>,
}

/// A sidecar and its capture step; none where no rules are to be set.
pub type Pair = (Launched, Option<Launched>);

/// How a container of ours ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none if the engine did not say.
    pub code: Option<i64>,
    /// Its last lines.
    pub lines: Vec<String>,
}

/// Sidecar and capture step (where there is one) of one application, started at once: the capture step waits for the
/// sidecar by itself.
///
/// # Errors
/// Either could not be started; then none of the two is left behind.
pub async fn launch_pair(
    docker: &Docker,
    app: &Container,
    sidecar: ContainerCreateBody,
    capture: Option<ContainerCreateBody>,
) -> Result<Pair, LaunchError> {
    let sidecar_name = super::plan::sidecar_name(&app.name);
    let Some(capture) = capture else {
        return Ok((launch(docker, app, &sidecar_name, sidecar).await?, None));
    };
    let capture_name = capture_name(&app.name);
    let both =
        join(launch(docker, app, &sidecar_name, sidecar), launch(docker, app, &capture_name, capture)).await;
    match both {
        (Ok(sidecar), Ok(capture)) => Ok((sidecar, Some(capture))),
        (Ok(launched), Err(error)) | (Err(error), Ok(launched)) => {
            remove(docker, &launched.id).await;
            Err(error)
        }
        (Err(error), Err(_)) => Err(error),
    }
}

/// A sidecar alone, beside the one whose place it takes.
///
/// # Errors
/// It could not be started.
pub async fn launch_next(
    docker: &Docker,
    app: &Container,
    name: &str,
    sidecar: ContainerCreateBody,
) -> Result<Launched, LaunchError> {
    launch(docker, app, name, sidecar).await
}

/// Follows a container that runs already to its end.
///
/// # Errors
/// The engine refuses, or it runs no more.
pub async fn follow(docker: &Docker, id: &str, name: &str) -> Result<Launched, LaunchError> {
    let output =
        attach(docker, id).await.map_err(|source| LaunchError::of("attach to a container", "", source))?;
    let options = WaitContainerOptions { condition: "not-running".into() };
    let end = docker.wait_container(id, Some(options)).boxed();
    Ok(Launched { id: id.to_owned(), name: name.to_owned(), output, end })
}

async fn attach(docker: &Docker, id: &str) -> Result<AttachContainerResults, Error> {
    let options = AttachContainerOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
    docker.attach_container(id, Some(options)).await
}

/// Id of an image.
///
/// # Errors
/// It is not there, or the engine refuses.
pub async fn image_id(docker: &Docker, image: &str) -> Result<String, LaunchError> {
    let found = docker.inspect_image(image).await;
    let found = found.map_err(|source| LaunchError::of("look at an image", image, source))?;
    found.id.ok_or_else(|| LaunchError::NoImage(image.to_owned()))
}

/// Asks a container to stop; the engine kills it after `seconds`.
pub async fn stop(docker: &Docker, id: &str, seconds: i32) {
    let options = StopContainerOptions { t: Some(seconds), ..Default::default() };
    if let Err(error) = docker.stop_container(id, Some(options)).await {
        tracing::debug!(container = id, %error, "not stopped");
    }
}

/// A capture step alone: running it again is harmless.
///
/// # Errors
/// It could not be started.
pub async fn launch_capture(
    docker: &Docker,
    app: &Container,
    capture: ContainerCreateBody,
) -> Result<Launched, LaunchError> {
    launch(docker, app, &capture_name(&app.name), capture).await
}

fn capture_name(app: &str) -> String {
    format!("{}-capture", super::plan::sidecar_name(app))
}

async fn launch(
    docker: &Docker,
    app: &Container,
    name: &str,
    body: ContainerCreateBody,
) -> Result<Launched, LaunchError> {
    let image = body.image.clone().unwrap_or_default();
    let (id, name) = create(docker, app, name, body)
        .await
        .map_err(|source| LaunchError::of("create a container", &image, source))?;
    // It may have started anew while the container was made: a sidecar belongs to one run.
    if !runs(docker, &app.id, app.instance()).await {
        remove(docker, &id).await;
        return Err(LaunchError::Gone);
    }
    let started = async {
        let output = attach(docker, &id).await?;
        let options = WaitContainerOptions { condition: "next-exit".into() };
        let mut end = docker.wait_container(&id, Some(options)).boxed();
        // Polled first, so that the engine is asked about the end before the start is.
        let start = docker.start_container(&id, None::<StartContainerOptions>);
        match select(end.next(), pin!(start)).await {
            Either::Left((_, start)) => start.await?,
            Either::Right((started, _)) => started?,
        }
        Ok((output, end))
    };
    match started.await {
        Ok((output, end)) => Ok(Launched { id, name, output, end }),
        Err(source) => {
            remove(docker, &id).await;
            Err(LaunchError::of("start a container", &image, source))
        }
    }
}

/// Creates under `name`; where that is taken by a left-over of the same application, in its place; where it is
/// taken by somebody else, under a name that carries the application's id as well.
async fn create(
    docker: &Docker,
    app: &Container,
    name: &str,
    body: ContainerCreateBody,
) -> Result<(String, String), Error> {
    let short = app.id.get(..12).unwrap_or(&app.id);
    let with_id = format!("{name}-{short}");
    for name in [name, with_id.as_str()] {
        match create_once(docker, name, &body).await {
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
                if clear(docker, name, app).await
                    && let Ok(id) = create_once(docker, name, &body).await
                {
                    return Ok((id, name.to_owned()));
                }
            }
            other => return Ok((other?, name.to_owned())),
        }
    }
    // Both are taken, so the engine chooses one.
    let created = docker.create_container(None::<CreateContainerOptions>, body).await?;
    Ok((created.id, short.to_owned()))
}

async fn create_once(docker: &Docker, name: &str, body: &ContainerCreateBody) -> Result<String, Error> {
    let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
    Ok(docker.create_container(Some(options), body.clone()).await?.id)
}

/// True when the container of that name belonged to the same application and is gone now.
async fn clear(docker: &Docker, name: &str, app: &Container) -> bool {
    let found = inspect(docker, name).await;
    let ours = found.filter(|found| found.label(crate::scope::WORKLOAD) == Some(app.id.as_str()));
    match ours {
        Some(left_over) => remove(docker, &left_over.id).await,
        None => false,
    }
}

/// One container; none if it is not there or the engine cannot say.
pub async fn inspect(docker: &Docker, id: &str) -> Option<Container> {
    Container::of(docker.inspect_container(id, None::<InspectContainerOptions>).await.ok()?)
}

/// Whether an application is, as the engine itself says, in this very run.
pub async fn runs(docker: &Docker, app: &str, instance: Option<&Instance>) -> bool {
    let found = inspect(docker, app).await;
    found.as_ref().and_then(Container::instance).is_some_and(|found| Some(found) == instance)
}

/// Removes a container and its anonymous volumes. True when it is gone; one whose removal has already begun is
/// waited for.
pub async fn remove(docker: &Docker, id: &str) -> bool {
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    match docker.remove_container(id, Some(options)).await {
        Ok(()) => true,
        Err(error) if is_missing(&error) => true,
        Err(Error::DockerResponseServerError { status_code: 409, .. }) => removed(docker, id).await,
        Err(error) => {
            tracing::warn!(container = id, %error, "a container of ours could not be removed; it is tried again");
            false
        }
    }
}

async fn removed(docker: &Docker, id: &str) -> bool {
    let options = WaitContainerOptions { condition: "removed".into() };
    let mut end = pin!(docker.wait_container(id, Some(options)));
    tokio::time::timeout(std::time::Duration::from_secs(5), end.next()).await.is_ok()
}

/// Gives a container another name; a name that is taken leaves it as it is.
pub async fn rename(docker: &Docker, id: &str, name: &str) {
    let options = RenameContainerOptions { name: name.to_owned() };
    if let Err(error) = docker.rename_container(id, options).await {
        tracing::debug!(container = id, name, %error, "not renamed");
    }
}

impl Launched {
    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let mut last = VecDeque::with_capacity(LINES);
        while let Some(Ok(line)) = self.output.output.next().await {
            if last.len() == LINES {
                last.pop_front();
            }
            last.push_back(line.to_string().trim_end().to_owned());
        }
        let code = match self.end.next().await {
            Some(Ok(end)) => Some(end.status_code),
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Some(code),
            Some(Err(_)) | None => None,
        };
        Ended { code, lines: last.into() }
    }
}
