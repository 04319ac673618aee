//! Live sidecars replaced one by one: the new one starts beside the old one, takes its sockets over, and the old one
//! ends once it is served by none (docs/upgrade.md).

pub mod choose;
mod replace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::Docker;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::inject::launch::{self, LaunchError};
use crate::inject::launches::Launches;
use crate::inject::template::Templates;
use crate::proxies::Proxies;
use crate::scope::Scope;
use crate::source::docker::connect::connected;
use crate::source::docker::map::map;
use crate::source::docker::sidecars::{injected, is_next};
use crate::source::docker::watch::Seen;
use crate::source::file::watch::MeshFile;

use choose::{Choice, Refused, Subject, choose};

/// Events on their way to one who reads slowly.
const QUEUE: usize = 16;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Workloads and services; none: all.
    #[serde(default)]
    pub names: Vec<String>,
    /// Another image than the configured one.
    #[serde(default)]
    pub image: Option<String>,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Seconds that the old sidecar may take for what still runs in it.
    pub deadline_s: u64,
}

/// What has happened, one JSON object for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Progress {
    /// What will be done; the first.
    Planned {
        /// The new image.
        image: String,
        /// Workloads whose sidecar is replaced, in this order.
        workloads: Vec<String>,
        /// Those that have the image already.
        current: Vec<String>,
        /// Those that are left alone.
        refused: Vec<Refused>,
    },
    /// The new sidecar of a workload starts.
    Started {
        /// The workload.
        workload: String,
    },
    /// It serves; the old one takes no more.
    Serving {
        /// The workload.
        workload: String,
        /// Milliseconds since its start.
        ms: u64,
    },
    /// The old one has ended.
    Done {
        /// The workload.
        workload: String,
        /// Milliseconds since the start of the new one.
        ms: u64,
        /// What the old one had to cut; none where all ended by itself.
        cut: Option<String>,
    },
    /// Nothing has changed for this workload, and those after it are left alone.
    Failed {
        /// The workload; empty where no workload was reached.
        workload: String,
        /// Why, and the way out.
        what: String,
    },
    /// The last.
    Finished {
        /// Sidecars that were replaced.
        upgraded: usize,
        /// Workloads that failed.
        failed: usize,
        /// Workloads that were not reached.
        left: usize,
    },
}

/// Where upgrades are asked for. Clones share.
#[derive(Clone, Debug)]
pub struct Upgrades {
    orders: mpsc::Sender<Order>,
    busy: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Order {
    request: Request,
    tell: mpsc::Sender<Progress>,
    _busy: Busy,
}

/// One at a time.
#[derive(Debug)]
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Upgrades {
    /// Begins one; none while another is under way. When nobody listens to what happens any more, it ends after the
    /// workload that it is at.
    pub fn begin(&self, request: Request) -> Option<mpsc::Receiver<Progress>> {
        if self.busy.swap(true, Ordering::Acquire) {
            return None;
        }
        let busy = Busy(self.busy.clone());
        let (tell, told) = mpsc::channel(QUEUE);
        self.orders.try_send(Order { request, tell, _busy: busy }).ok()?;
        Some(told)
    }
}

/// Replaces sidecars.
pub struct Upgrader {
    /// Where the engine listens.
    pub host: String,
    /// What is looked at.
    pub scope: Scope,
    /// What sidecars look like.
    pub templates: Templates,
    /// Image of sidecars, unless an order names another.
    pub image: String,
    /// Volume name or host path of the control socket's directory; where sidecars find it.
    pub control: (String, std::path::PathBuf),
    /// Further environment of sidecars.
    pub env: Vec<String>,
    /// What sidecars report.
    pub proxies: Proxies,
    /// What is under way; asks to begin nothing new.
    pub launches: Launches,
    /// What Docker shows.
    pub seen: watch::Receiver<Seen>,
    /// The mesh file.
    pub mesh_file: watch::Receiver<MeshFile>,
}

/// Orders on their way to the upgrader.
pub struct Orders(mpsc::Receiver<Order>);

/// Where upgrades are asked for, and where they arrive.
pub fn upgrades() -> (Upgrades, Orders) {
    let (orders, arriving) = mpsc::channel(1);
    (Upgrades { orders, busy: Arc::default() }, Orders(arriving))
}

impl Upgrader {
    /// Runs for ever: first brings to an end what an earlier controller began.
    pub async fn run(mut self, mut orders: Orders) {
        if self.seen.wait_for(|seen| seen.current).await.is_err() {
            return;
        }
        let docker = connected(&self.host).await;
        self.adopt(&docker).await;
        while let Some(order) = orders.0.recv().await {
            self.serve(&docker, &order).await;
        }
        std::future::pending().await
    }

    async fn serve(&self, docker: &Docker, Order { request, tell, .. }: &Order) {
        let image = request.image.clone().unwrap_or_else(|| self.image.clone());
        let choice = match self.choose(docker, &image, &request.names).await {
            Ok(choice) => choice,
            Err(error) => {
                let what = error.to_string();
                let _unheard = tell.send(Progress::Failed { workload: String::new(), what }).await;
                let _unheard = tell.send(Progress::Finished { upgraded: 0, failed: 1, left: 0 }).await;
                return;
            }
        };
        let Choice { subjects, current, refused } = choice;
        let workloads: Vec<_> = subjects.iter().map(|subject| subject.name.clone()).collect();
        tracing::info!(image, workloads = workloads.len(), dry_run = request.dry_run, "upgrade");
        let planned = Progress::Planned { image: image.clone(), workloads, current, refused };
        let heard = tell.send(planned).await.is_ok();
        if request.dry_run || !heard {
            return;
        }
        let (mut upgraded, mut failed) = (0, 0);
        for subject in &subjects {
            if tell.is_closed() {
                tracing::info!("nobody listens to the upgrade any more: it ends");
                break;
            }
            if self.one(docker, subject, &image, request.deadline_s, tell).await {
                upgraded += 1;
            } else {
                failed += 1;
                break;
            }
        }
        let left = subjects.len() - upgraded - failed;
        tracing::info!(upgraded, failed, left, "upgrade has ended");
        let _unheard = tell.send(Progress::Finished { upgraded, failed, left }).await;
    }

    async fn choose(&self, docker: &Docker, image: &str, names: &[String]) -> Result<Choice, LaunchError> {
        let id = launch::image_id(docker, image).await?;
        let seen = self.seen.borrow().clone();
        // Which workloads there are does not depend on the mesh file.
        let mesh = self.mesh_file.borrow().mesh.clone().unwrap_or_default();
        let view = map(&seen.containers, &self.scope, &mesh).view;
        Ok(choose(&seen.containers, &view, &self.scope, names, &id))
    }

    /// One workload; true if its sidecar was replaced.
    async fn one(
        &self,
        docker: &Docker,
        subject: &Subject,
        image: &str,
        deadline_s: u64,
        tell: &mpsc::Sender<Progress>,
    ) -> bool {
        let (workload, begun) = (subject.name.clone(), Instant::now());
        let ms = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let _unheard = tell.send(Progress::Started { workload: workload.clone() }).await;
        let replaced = match self.start(docker, subject, image, deadline_s).await {
            Ok(old) => {
                let _unheard = tell.send(Progress::Serving { workload: workload.clone(), ms: ms() }).await;
                Ok(self.finish(docker, &subject.sidecar.id, Some(old), deadline_s).await)
            }
            Err(error) => Err(error),
        };
        let (good, told) = match replaced {
            Ok(cut) => {
                tracing::info!(workload, ms = ms(), "its sidecar was replaced");
                (true, Progress::Done { workload, ms: ms(), cut })
            }
            Err(error) => {
                tracing::warn!(workload, %error, "its sidecar was not replaced");
                (false, Progress::Failed { workload, what: error.to_string() })
            }
        };
        let _unheard = tell.send(told).await;
        good
    }

    /// A controller that ended in the middle left two sidecars: the newer stays if it becomes ready, else the older.
    async fn adopt(&self, docker: &Docker) {
        let seen = self.seen.borrow().clone();
        for (app, standing) in injected(&seen.containers, &self.scope.mesh) {
            let Some(next) = standing.iter().find(|sidecar| is_next(sidecar, &standing)) else { continue };
            let Some(old) = standing.iter().find(|sidecar| sidecar.id != next.id) else { continue };
            tracing::info!(workload = app.0, "an upgrade was under way: it is brought to its end");
            match self.ready(&app, &next.id).await {
                Ok(()) => drop(self.finish(docker, &old.id, None, replace::ADOPTED_DEADLINE_S).await),
                Err(error) => {
                    tracing::warn!(workload = app.0, %error, "its new sidecar is taken away again");
                    launch::remove(docker, &next.id).await;
                }
            }
        }
    }
}
