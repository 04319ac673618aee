//! When a sidecar in an ECS task leaves the mesh, and when it ends.
//!
//! ECS stops containers in the reverse order of their start: while an application that depends on the sidecar runs, the
//! sidecar is told nothing. So it looks at the task's metadata. Takes: the endpoint, and SIGTERM. Gives: the word to leave
//! once the task is to stop, and resolves when the application has ended: then nothing needs the sidecar, and a task whose
//! application ended by itself, a batch task, ends with it.

mod order;

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::task::{self, Container, Endpoint, MetadataError};
pub use order::{Order, order};

/// Between two looks. On EC2 all containers of an instance together may ask 40 times a second.
const LOOK: Duration = Duration::from_secs(1);
/// The same after it could not be asked; doubles up to [`RARELY`].
const AGAIN: Duration = Duration::from_secs(2);
const RARELY: Duration = Duration::from_secs(5);

/// The task that a sidecar is a container of.
pub struct Task {
    endpoint: Endpoint,
    own: Option<Container>,
    pause: Duration,
    troubled: bool,
}

impl Task {
    /// The task of the container whose metadata are there.
    pub fn at(endpoint: Endpoint) -> Self {
        Self { endpoint, own: None, pause: LOOK, troubled: false }
    }

    /// Resolves when the sidecar is to end, to the time that what still runs may take. `told` resolves at SIGTERM; from
    /// then on it takes `deadline` at most, whatever the application does. Sends `true` to `leaving` once the task stops.
    pub async fn end(
        mut self,
        told: impl Future<Output = ()>,
        leaving: watch::Sender<bool>,
        deadline: Duration,
    ) -> Duration {
        let mut told = pin!(told);
        let mut told_at: Option<Instant> = None;
        loop {
            let ends = told_at.map(|at| at + deadline);
            let looked = match ends {
                None => self.order(false).await,
                Some(ends) => timeout_at(ends, self.order(true)).await.unwrap_or(None),
            };
            let left = ends.map_or(deadline, |ends| ends.saturating_duration_since(Instant::now()));
            match looked {
                Some(Order::Serve) => {}
                Some(Order::Leave) => leave(&leaving),
                Some(Order::End) => {
                    tracing::info!("the other containers of the task have ended");
                    return left;
                }
                // Nobody says whether the application still runs.
                None if told_at.is_some() => return left,
                None => {}
            }
            if left.is_zero() && told_at.is_some() {
                tracing::warn!(?deadline, "the application still runs, and there is no time left");
                return left;
            }
            let pause = sleep(self.pause.mul_f64(0.9 + fastrand::f64() / 5.0));
            tokio::select! {
                () = &mut told, if told_at.is_none() => told_at = Some(Instant::now()),
                () = pause => {}
            }
        }
    }

    /// What the sidecar is to do; none: it could not be found out.
    async fn order(&mut self, told: bool) -> Option<Order> {
        match self.look().await {
            Ok((own, task)) => {
                self.pause = LOOK;
                self.troubled = false;
                Some(order(&task, &own, told))
            }
            Err(error) => {
                self.pause = if self.troubled { RARELY.min(self.pause * 2) } else { AGAIN };
                if !self.troubled {
                    tracing::warn!(%error, "whether the task stops is not known");
                }
                self.troubled = true;
                None
            }
        }
    }

    async fn look(&mut self) -> Result<(Container, task::Task), MetadataError> {
        let own = match &self.own {
            Some(own) => own.clone(),
            None => {
                let own = self.endpoint.own().await?;
                // Until then it would count what started before it as its applications.
                if own.started_at.is_some() {
                    self.own = Some(own.clone());
                }
                own
            }
        };
        Ok((own, self.endpoint.task().await?))
    }
}

fn leave(leaving: &watch::Sender<bool>) {
    let first = leaving.send_if_modified(|leaving| !std::mem::replace(leaving, true));
    if first {
        tracing::info!("the task is to stop: the controller is told");
    }
}

#[cfg(test)]
mod tests;
