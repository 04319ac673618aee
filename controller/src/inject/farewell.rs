//! The controller is asked to stop: alone (then sidecars serve on without it), or together with the applications
//! (`compose down`): then it stays until their sidecars are gone, so that the volume of the control socket is free.

use std::time::Duration;

use outrigger_model::label::{MANAGED, MESH};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::scope::{INSTANCE, Scope, WORKLOAD};
use crate::source::docker::tracker::Containers;
use crate::source::docker::watch::Seen;

/// Compose asks everything that it stops within this time.
const TOGETHER: Duration = Duration::from_millis(1_200);
/// Compose kills after ten seconds; less than that.
const AT_MOST: Duration = Duration::from_secs(8);

/// Waits as long as there is something to wait for.
pub async fn farewell(mut seen: watch::Receiver<Seen>, scope: &Scope) {
    let going = timeout(TOGETHER, seen.wait_for(|seen| leaving(&seen.containers, scope) > 0)).await;
    let together = matches!(going, Ok(Ok(_)));
    drop(going);
    if !together {
        tracing::info!("the applications stay: their sidecars serve on");
        return;
    }
    tracing::info!("the applications are stopping too: staying until their sidecars are gone");
    let gone = seen.wait_for(|seen| leaving(&seen.containers, scope) == 0);
    if timeout(AT_MOST, gone).await.is_err() {
        tracing::warn!("some sidecars are still there: they end by themselves when their applications do");
    }
}

/// Sidecars of this mesh whose application is asked to stop, or does not run any more.
fn leaving(containers: &Containers, scope: &Scope) -> usize {
    let ours = containers
        .values()
        .filter(|container| container.label(MESH) == Some(&scope.mesh) && container.label(MANAGED).is_some());
    let stays = |workload: &str, instance: Option<&str>| {
        containers.get(workload).is_some_and(|app| {
            !app.stopping && app.instance().is_some_and(|run| Some(run.started.as_str()) == instance)
        })
    };
    ours.filter(|container| {
        container.label(WORKLOAD).is_some_and(|workload| !stays(workload, container.label(INSTANCE)))
    })
    .count()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::source::docker::record::{Container, Run};
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
