//! One sidecar replaced.

use std::pin::pin;
use std::time::Duration;

use bollard::Docker;
use outrigger_model::WorkloadId;
use tokio::time::timeout;

use super::{Subject, Upgrader};
use crate::inject::launch::{self, Ended, LaunchError, Launched};
use crate::inject::plan::{next_name, sidecar_name};
use crate::inject::template::Filling;
use crate::proxies::Proxy;
use crate::scope::REPLACES;
use crate::source::docker::record::{Container, Instance};

/// A new sidecar serves within a second; one that does not by then will not.
const READY: Duration = Duration::from_secs(30);
/// Beyond the deadline, for a sidecar to end and the engine to say so.
const MARGIN: Duration = Duration::from_secs(5);
/// Seconds for one that did not end by itself, between being asked and being killed.
const STOP_S: i32 = 10;
/// Seconds for what still runs in a sidecar whose upgrade an earlier controller began.
pub(super) const ADOPTED_DEADLINE_S: u64 = 30;

/// Why a sidecar was not replaced. The old one serves on.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error("the controller stops")]
    Stopping,
    #[error("the application has stopped or started anew meanwhile: the next upgrade finds it")]
    Restarted,
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("the new sidecar ended{code}; its last lines: {lines}", code = code(.0), lines = .0.lines.join(" | "))]
    Ended(Ended),
    #[error("the new sidecar was not ready within {} s{}: the old one serves on", READY.as_secs(), why(.0.as_deref()))]
    NotReady(Option<Box<Proxy>>),
}

fn code(ended: &Ended) -> String {
    ended.code.map_or_else(String::new, |code| format!(" with exit code {code}"))
}

fn why(next: Option<&Proxy>) -> String {
    match next {
        None => ": it never reached the controller".into(),
        Some(Proxy { nack: Some(nack), .. }) => format!(": it refused its configuration: {nack}"),
        Some(Proxy { acked, .. }) if acked.is_empty() => ": it got no configuration".into(),
        Some(_) => ": it got no certificate".into(),
    }
}

impl Upgrader {
    /// Starts the new sidecar and waits until it serves; the old one, which then drains.
    pub(super) async fn start(
        &self,
        docker: &Docker,
        subject: &Subject,
        image: &str,
        deadline_s: u64,
    ) -> Result<Launched, UpgradeError> {
        let app = self.seen.borrow().containers.get(&subject.id.0).cloned();
        let (app, instance) = app
            .and_then(|app| app.instance().cloned().map(|instance| (app, instance)))
            .ok_or(UpgradeError::Restarted)?;
        let old = launch::follow(docker, &subject.sidecar.id, &subject.sidecar.name).await?;
        let launching = self.launches.begin().ok_or(UpgradeError::Stopping)?;
        let next = self.launch(docker, subject, (&app, &instance), image, deadline_s).await?;
        drop(launching);
        let id = next.id.clone();
        let mut seen = self.seen.clone();
        let restarted = seen.wait_for(|seen| {
            seen.containers.get(&subject.id.0).and_then(Container::instance) != Some(&instance)
        });
        let served = tokio::select! {
            served = self.ready(&subject.id, &id) => served,
            ended = next.ended() => Err(UpgradeError::Ended(ended)),
            _ = restarted => Err(UpgradeError::Restarted),
        };
        match served {
            Ok(()) => Ok(old),
            Err(error) => {
                launch::remove(docker, &id).await;
                Err(error)
            }
        }
    }

    async fn launch(
        &self,
        docker: &Docker,
        subject: &Subject,
        (app, instance): (&Container, &Instance),
        image: &str,
        deadline_s: u64,
    ) -> Result<Launched, LaunchError> {
        let target = self.control.1.display().to_string();
        let mut env = self.env.clone();
        env.push(format!("OUTRIGGER_HANDOVER_DEADLINE={deadline_s}"));
        let filling = Filling {
            mesh: &self.scope.mesh,
            workload: &subject.id.0,
            instance: &instance.started,
            image,
            control: (&self.control.0, &target),
            env: &env,
        };
        let mut body = self.templates.sidecar(subject.capture, &filling);
        body.labels.get_or_insert_default().insert(REPLACES.to_owned(), subject.sidecar.id.clone());
        // A name that is free: the present one may still have that of a next one.
        let next = next_name(&app.name);
        let name = if subject.sidecar.name == next { sidecar_name(&app.name) } else { next };
        launch::launch_next(docker, app, &name, body).await
    }

    /// Waits until this sidecar says that it serves.
    pub(super) async fn ready(&self, app: &WorkloadId, sidecar: &str) -> Result<(), UpgradeError> {
        let mut proxies = self.proxies.subscribe();
        let known = |proxy: Option<&Proxy>| proxy.and_then(|proxy| proxy.of(sidecar)).cloned();
        let ready = proxies.wait_for(|proxies| {
            known(proxies.get(app)).and_then(|proxy| proxy.observed()).is_some_and(|observed| observed.ready)
        });
        let ready = timeout(READY, ready).await.is_ok_and(|ready| ready.is_ok());
        let last = known(self.proxies.all().get(app)).map(Box::new);
        if ready { Ok(()) } else { Err(UpgradeError::NotReady(last)) }
    }

    /// Waits for the old one's end, and helps where it does not come; what it had to cut.
    pub(super) async fn finish(
        &self,
        docker: &Docker,
        old: &str,
        following: Option<Launched>,
        deadline_s: u64,
    ) -> Option<String> {
        let mut cut = None;
        let limit = Duration::from_secs(deadline_s) + MARGIN;
        let followed = match following {
            Some(following) => Ok(following),
            None => launch::follow(docker, old, old).await,
        };
        if let Ok(following) = followed {
            let mut ended = pin!(following.ended());
            let in_time = match timeout(limit, &mut ended).await {
                Ok(ended) => Some(ended),
                Err(_) => {
                    tracing::warn!(container = old, "the old sidecar does not end by itself: stopping it");
                    launch::stop(docker, old, STOP_S).await;
                    timeout(MARGIN, ended).await.ok()
                }
            };
            let mut lines = in_time.iter().flat_map(|ended| &ended.lines);
            cut = lines.rfind(|line| line.contains("were cut")).cloned();
        }
        launch::remove(docker, old).await;
        let mut seen = self.seen.clone();
        let gone = seen.wait_for(|seen| !seen.containers.contains_key(old));
        let _told_later = timeout(MARGIN, gone).await;
        cut
    }
}
