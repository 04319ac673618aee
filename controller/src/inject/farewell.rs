//! The controller is asked to stop: alone (then sidecars serve on without it), or together with the applications
//! (`compose down`): then it stays until their sidecars are gone, so that the volume of the control socket is free.

use std::time::Duration;

use outrigger_model::label::{MANAGED, MESH};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::scope::{INSTANCE, Scope, WORKLOAD};
use crate::source::docker::record::Container;
use crate::source::docker::tracker::Containers;
use crate::source::docker::watch::Seen;

/// Compose asks everything that it stops within this time.
const TOGETHER: Duration = Duration::from_millis(1_200);
/// Compose kills after ten seconds; less than that.
const AT_MOST: Duration = Duration::from_secs(8);

/// Waits as long as there is something to wait for: until no sidecar is left, or none is leaving for a while.
pub async fn farewell(mut seen: watch::Receiver<Seen>, scope: &Scope) {
    let end = Instant::now() + AT_MOST;
    let mut quiet = Instant::now() + TOGETHER;
    loop {
        let sidecars = sidecars(&seen.borrow_and_update().containers, scope);
        let now = Instant::now();
        if sidecars.leaving > 0 {
            quiet = now + TOGETHER;
        }
        tracing::debug!(?sidecars, "farewell");
        match sidecars {
            Sidecars { staying: 0, leaving: 0 } => return,
            Sidecars { leaving: 0, .. } if quiet <= now => {
                tracing::info!("the applications stay: their sidecars serve on");
                return;
            }
            _ if end <= now => {
                tracing::warn!(
                    "some sidecars are still there: they end by themselves when their applications do"
                );
                return;
            }
            _ => {}
        }
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { return },
            () = sleep_until(quiet.min(end)) => {}
        }
    }
}

/// Sidecars of this mesh.
#[derive(Debug)]
struct Sidecars {
    /// Beside an application that runs on.
    staying: usize,
    /// Beside one that is asked to stop, or does not run any more.
    leaving: usize,
}

fn sidecars(containers: &Containers, scope: &Scope) -> Sidecars {
    let ours = containers
        .values()
        .filter(|container| container.label(MESH) == Some(&scope.mesh) && container.label(MANAGED).is_some());
    let stays = |sidecar: &&Container| {
        let app = sidecar.label(WORKLOAD).and_then(|workload| containers.get(workload));
        let started =
            app.filter(|app| !app.stopping).and_then(Container::instance).map(|run| run.started.as_str());
        started.is_some() && started == sidecar.label(INSTANCE)
    };
    let (staying, leaving): (Vec<_>, Vec<_>) = ours.partition(stays);
    Sidecars { staying: staying.len(), leaving: leaving.len() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::docker::record::Run;
    use crate::source::docker::samples::{composed, containers, sidecar_of};

    fn scope() -> Scope {
        Scope { mesh: "shop".into(), ..Scope::default() }
    }

    fn see(tell: &watch::Sender<Seen>, all: &[&Container]) {
        let all = containers(all.iter().copied().cloned());
        tell.send_modify(|seen| seen.containers = Arc::new(all));
    }

    #[tokio::test(start_paused = true)]
    async fn alone_it_leaves_soon_and_together_it_stays_until_the_last_sidecar_is_gone() {
        let app = composed("shop", "cart", &[("outrigger.enable", "true")]);
        let sidecar = sidecar_of(&app);
        let (tell, seen) = watch::channel(Seen::default());
        see(&tell, &[&app, &sidecar]);
        let begun = Instant::now();
        farewell(seen.clone(), &scope()).await;
        assert_eq!(begun.elapsed(), TOGETHER);

        let begun = Instant::now();
        let down = async {
            let step = Duration::from_secs(1);
            tokio::time::sleep(step).await;
            see(&tell, &[&Container { stopping: true, ..app.clone() }, &sidecar]);
            tokio::time::sleep(step).await;
            see(&tell, &[&Container { run: Run::Stopped, ..app.clone() }, &sidecar]);
            tokio::time::sleep(step).await;
            see(&tell, &[&Container { run: Run::Stopped, ..app.clone() }]);
        };
        let scope = scope();
        let farewell = async {
            farewell(seen, &scope).await;
            begun.elapsed()
        };
        let (stayed, ()) = tokio::join!(farewell, down);
        assert_eq!(stayed, Duration::from_secs(3));
    }

    /// Compose stops containers one after another: the first one's sidecar was gone before the second was asked.
    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_next_one_too() {
        let (one, two) = (composed("shop", "one", &[]), composed("shop", "two", &[]));
        let (first, second) = (sidecar_of(&one), sidecar_of(&two));
        let (tell, seen) = watch::channel(Seen::default());
        see(&tell, &[&one, &two, &first, &second]);
        let begun = Instant::now();
        let down = async {
            let step = Duration::from_millis(500);
            see(&tell, &[&Container { stopping: true, ..one.clone() }, &two, &first, &second]);
            tokio::time::sleep(step).await;
            see(&tell, &[&two, &second]);
            tokio::time::sleep(step).await;
            see(&tell, &[&Container { stopping: true, ..two.clone() }, &second]);
            tokio::time::sleep(step).await;
            see(&tell, &[]);
        };
        let scope = scope();
        tokio::join!(farewell(seen, &scope), down);
        assert_eq!(begun.elapsed(), Duration::from_millis(1_500));
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_stays_so_long_that_compose_would_kill_it() {
        let app = composed("shop", "cart", &[("outrigger.enable", "true")]);
        let sidecar = sidecar_of(&app);
        let (tell, seen) = watch::channel(Seen::default());
        see(&tell, &[&Container { stopping: true, ..app }, &sidecar]);
        let begun = Instant::now();
        farewell(seen, &scope()).await;
        assert_eq!(begun.elapsed(), AT_MOST);
        drop(tell);
    }
}
