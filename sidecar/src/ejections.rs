//! What is ejected by this sidecar, for the controller; and the timer that compares success rates. Nothing runs while
//! no cluster ejects.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_wire::control;
use tokio::sync::watch;

use crate::cluster::{Behind, Cluster, Ejection, Why};
use crate::runtime::{Generation, Runtime};

/// Between two looks: an ejection is told of by then.
const LOOK: Duration = Duration::from_millis(250);
/// Told of at once, at most; beyond, the services are in worse trouble than a list can say.
const MOST: usize = 64;

/// Watches the endpoints of what is configured, for ever.
pub(crate) async fn watch(runtime: Runtime, tell: watch::Sender<Vec<control::Ejection>>) {
    let mut configured = runtime.configured();
    loop {
        let generation = configured.borrow_and_update().clone();
        let clusters = generation.map(|generation| ejecting(&generation)).unwrap_or_default();
        for cluster in &clusters {
            cluster.judge();
        }
        let ejected = clusters.iter().flat_map(|cluster| told(cluster)).take(MOST).collect();
        tell.send_if_modified(|before| {
            let changed = *before != ejected;
            *before = ejected;
            changed
        });
        let changed = configured.changed();
        let ended = if clusters.is_empty() {
            changed.await.is_err()
        } else {
            tokio::time::timeout(LOOK, changed).await.is_ok_and(|changed| changed.is_err())
        };
        if ended {
            std::future::pending::<()>().await;
        }
    }
}

/// Clusters that eject. A version's endpoints and what is counted of them are those of the whole.
fn ejecting(generation: &Generation) -> Vec<Arc<Cluster>> {
    let all = &generation.clusters;
    let of_another = |key: &str| key.split_once('/').is_some_and(|(whole, _)| all.contains_key(whole));
    let mut ejecting: Vec<_> = all
        .values()
        .filter(|cluster| cluster.policy.outlier.is_some() && !of_another(&cluster.key))
        .cloned()
        .collect();
    ejecting.sort_by(|a, b| a.key.cmp(&b.key));
    ejecting
}

fn told(cluster: &Cluster) -> Vec<control::Ejection> {
    let ejected = cluster.ejected();
    let overruled = !ejected.is_empty() && !cluster.ejects();
    ejected.into_iter().map(|ejection| describe(cluster, ejection, overruled)).collect()
}

fn describe(cluster: &Cluster, ejection: Ejection, overruled: bool) -> control::Ejection {
    let unix_ms = |at: SystemTime| {
        let passed = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    };
    let (errors, behind) = match ejection.why {
        Why::InARow(errors) => (errors, None),
        Why::Behind(behind) => (0, Some(behind)),
    };
    let Behind { percent, others } = behind.unwrap_or(Behind { percent: 0, others: 0 });
    control::Ejection {
        service: cluster.service.clone(),
        port: cluster.port.into(),
        endpoint: ejection.workload,
        since_ms: unix_ms(ejection.since),
        until_ms: unix_ms(ejection.since + ejection.lasts),
        errors,
        percent,
        others,
        overruled,
    }
}
