//! One sidecar's place taken by another.

use std::time::Duration;

use outrigger_lifecycle::Readiness;
use tokio::sync::oneshot;

use super::{Inherited, Kept, Left, Offer, Place, Predecessor};
use crate::runtime::Runtime;

/// How a sidecar takes its predecessor's place, and is found by its successor.
pub struct HandOver {
    /// Where sidecars of this network namespace find each other.
    pub place: Place,
    /// What the predecessor gave.
    pub inherited: Inherited,
    /// The predecessor, if there is one.
    pub predecessor: Option<Predecessor>,
    /// How long the predecessor may take for what still runs there.
    pub deadline: Duration,
}

impl HandOver {
    /// Asks at `place` for a predecessor and its sockets; 5 s at most.
    pub async fn find(place: Place, deadline: Duration) -> Self {
        let (inherited, predecessor) = Predecessor::find(&place).await;
        Self { place, inherited, predecessor, deadline }
    }
}

/// Hands all sockets to whoever takes this sidecar's place, as soon as it has it; tells when a successor serves.
pub(crate) fn succeeded_by(
    hand_over: &HandOver,
    admin: Kept,
    runtime: Runtime,
    readiness: Readiness,
    tell: oneshot::Sender<Left>,
) -> impl Future<Output = ()> + Send + use<> {
    let offer = Offer::bind(hand_over.place.clone(), &hand_over.inherited);
    let waits = hand_over.predecessor.is_some();
    async move {
        if waits {
            // Until then the predecessor answers on the same socket.
            readiness.ready().await;
        }
        let sockets = move || runtime.sockets().into_iter().chain(admin.duplicate()).collect();
        let left = match offer {
            Ok(offer) => offer.run(sockets).await,
            Err(error) => Err(error),
        };
        match left {
            Ok(left) => drop(tell.send(left)),
            Err(error) => {
                tracing::warn!(%error, "this sidecar cannot hand its sockets over: replacing it interrupts traffic");
            }
        }
        std::future::pending().await
    }
}

/// Relieves the predecessor once this sidecar is ready, and serves the connections that wait for a request there.
pub(crate) async fn succeed(hand_over: HandOver, runtime: Runtime, readiness: Readiness) {
    if let Some(mut predecessor) = hand_over.predecessor {
        readiness.ready().await;
        let relieved = predecessor.relieve(hand_over.deadline).await;
        hand_over.inherited.close();
        let ended = match relieved {
            Ok(()) => loop {
                match predecessor.connection().await {
                    Ok(Some((tcp, named))) => runtime.adopt(tcp, named),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            },
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => tracing::info!("the predecessor has ended"),
            Err(error) => tracing::warn!(%error, "the predecessor has ended early"),
        }
    }
    std::future::pending().await
}
