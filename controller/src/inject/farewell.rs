//! The controller is asked to stop: alone (then sidecars serve on without it), or together with the applications
//! (`compose down`): then it stays until their sidecars are gone, so that the volume of the control socket is free.

use std::time::Duration;

use outrigger_model::label::{MANAGED, MESH};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::launches::Launches;
use crate::scope::{INSTANCE, Scope, WORKLOAD};
use crate::source::docker::record::Container;
use crate::source::docker::tracker::Containers;
use crate::source::docker::watch::Seen;

/// Compose asks everything that it stops within this time.
const TOGETHER: Duration = Duration::from_millis(1_200);
/// Compose kills after ten seconds; less than that.
const AT_MOST: Duration = Duration::from_secs(8);

/// Lets no sidecar be begun any more, and waits as long as there is something to wait for: until those under way are
/// whole or gone, and no sidecar is left, or none is leaving for a while.
pub async fn farewell(mut seen: watch::Receiver<Seen>, scope: &Scope, launches: &Launches) {
    launches.close();
    let end = Instant::now() + AT_MOST;
    let mut quiet = Instant::now() + TOGETHER;
    let mut busy = false;
    // What was just made may not be seen yet.
    let mut unseen = false;
    loop {
        let (idle, now) = (launches.is_idle(), Instant::now());
        let sidecars = sidecars(&seen.borrow_and_update().containers, scope);
        if sidecars.leaving > 0 || !idle || busy {
            quiet = now + TOGETHER;
        }
        busy = !idle;
        unseen = busy || unseen && quiet > now;
        tracing::debug!(?sidecars, idle, "farewell");
        match sidecars {
            Sidecars { staying: 0, leaving: 0 } if !unseen => return,
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
            () = launches.idle(), if !idle => {}
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
        farewell(seen.clone(), &scope(), &Launches::default()).await;
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
            farewell(seen, &scope, &Launches::default()).await;
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
        let (scope, launches) = (scope(), Launches::default());
        tokio::join!(farewell(seen, &scope, &launches), down);
        assert_eq!(begun.elapsed(), Duration::from_millis(1_500));
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_stays_so_long_that_compose_would_kill_it() {
        let app = composed("shop", "cart", &[("outrigger.enable", "true")]);
        let sidecar = sidecar_of(&app);
        let (tell, seen) = watch::channel(Seen::default());
        see(&tell, &[&Container { stopping: true, ..app }, &sidecar]);
        let begun = Instant::now();
        farewell(seen, &scope(), &Launches::default()).await;
        assert_eq!(begun.elapsed(), AT_MOST);
        drop(tell);
    }

    /// A controller that left here would leave a container that was created and never started.
    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_is_being_made_is_waited_for_and_no_other_is_begun() {
        let launches = Launches::default();
        let launch = launches.begin().unwrap();
        let (tell, seen) = watch::channel(Seen::default());
        let begun = Instant::now();
        let made = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(launches.begin().is_none(), "no other");
            drop(launch);
        };
        let scope = scope();
        tokio::join!(farewell(seen.clone(), &scope, &launches), made);
        assert_eq!(begun.elapsed(), Duration::from_secs(2) + TOGETHER, "and until it would have been seen");

        let stuck = Launches::default();
        let _launch = stuck.begin().unwrap();
        let begun = Instant::now();
        farewell(seen, &scope, &stuck).await;
        assert_eq!(begun.elapsed(), AT_MOST, "not for ever");
        drop(tell);
    }
}
