//! What is known of a connection before its first request: who opened it, and where it goes.

use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_wire::{SpiffeId, Timeouts};

use crate::runtime::{EdgeRoutes, Generation};

/// Which way a connection crosses this sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the outside to the application.
    Inbound,
    /// From the application to somewhere.
    Outbound,
}

impl Direction {
    /// As labels and logs say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// One accepted connection.
#[derive(Clone, Debug)]
pub struct Downstream {
    /// Which way it goes.
    pub direction: Direction,
    /// The other end of the accepted socket, or whom a PROXY header named in its place.
    pub remote: SocketAddr,
    /// A PROXY header named it.
    pub introduced: bool,
    /// Proven identity of the caller; none on plaintext.
    pub identity: Option<SpiffeId>,
    /// The port that was called (the application's port, not the sidecar's).
    pub port: u16,
    /// Where it goes.
    pub destination: Destination,
    /// What the application is sent first on each connection that is made for this one: a PROXY header.
    pub announce: Option<Arc<[u8]>>,
}

impl Downstream {
    /// The other side as metrics and reports name it.
    pub fn peer(&self, generation: &Generation) -> String {
        match (&self.destination, &self.identity, self.direction) {
            (_, Some(caller), Direction::Inbound) => format!("{}.{}", caller.service(), caller.namespace()),
            (_, None, Direction::Inbound) if generation.is_edge(self.port) => "edge".to_owned(),
            (_, None, Direction::Inbound) => "unknown".to_owned(),
            (Destination::Cluster { cluster, .. } | Destination::Endpoint { cluster, .. }, _, _) => {
                generation
                    .clusters
                    .get(cluster.as_str())
                    .map_or_else(|| cluster.clone(), |c| c.service.clone())
            }
            (Destination::Passthrough(_) | Destination::Application(_), _, _) => "passthrough".to_owned(),
        }
    }

    /// A peer's sidecar opened it.
    pub fn is_mesh(&self) -> bool {
        self.direction == Direction::Inbound && self.identity.is_some()
    }

    /// Whom a PROXY header named: the socket does not say it again.
    pub fn named(&self) -> Option<SocketAddr> {
        self.introduced.then_some(self.remote)
    }

    /// The called port, where the connection came from outside the mesh in plaintext.
    pub fn plaintext_port(&self) -> Option<u16> {
        let outside = self.direction == Direction::Inbound && self.identity.is_none();
        outside.then_some(self.port)
    }

    /// The called port of a service, as errors name it; `edge` where it is the own one's.
    pub fn called(&self, edge: Option<&EdgeRoutes>) -> String {
        match (&self.destination, edge) {
            (_, Some(edge)) => edge.cluster.clone(),
            (Destination::Cluster { cluster, .. } | Destination::Endpoint { cluster, .. }, None) => {
                cluster.clone()
            }
            (Destination::Application(address) | Destination::Passthrough(address), None) => {
                address.to_string()
            }
        }
    }

    /// True where mutual TLS carries it: of several places where it may go, to all.
    pub fn mtls(&self, generation: &Generation) -> bool {
        let to = |key: &str| generation.clusters.get(key);
        match (&self.destination, self.direction) {
            (_, Direction::Inbound) => self.identity.is_some(),
            (Destination::Cluster { cluster, .. }, _) => {
                let routes = generation.routes.get(cluster.as_str());
                let mut routed = routes.iter().flat_map(|routes| routes.clusters()).filter_map(to);
                to(cluster).is_some_and(|cluster| cluster.is_mutual())
                    && routed.all(|cluster| cluster.is_mutual())
            }
            (Destination::Endpoint { cluster, workload }, _) => {
                to(cluster).is_some_and(|cluster| cluster.is_mutual_to(workload))
            }
            (Destination::Passthrough(_) | Destination::Application(_), _) => false,
        }
    }
}

/// Where a connection goes. Held for the connection's life; what it names is looked up in the current
/// generation for every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A cluster of the configuration, balanced.
    Cluster {
        /// Key in `clusters`.
        cluster: String,
        /// The called port's limits in time.
        timeouts: Timeouts,
    },
    /// One endpoint of a cluster, called by its own name or address: never sent elsewhere.
    Endpoint {
        /// Key in `clusters`.
        cluster: String,
        /// The endpoint's workload name.
        workload: String,
    },
    /// The own application.
    Application(SocketAddr),
    /// An address that is not the mesh's: bytes pass unchanged.
    Passthrough(SocketAddr),
}

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpKind {
    /// HTTP/1.x.
    Http1,
    /// HTTP/2, also towards the application.
    Http2,
    /// HTTP/2 frames between sidecars that carry the messages of an HTTP/1.x client: the application is
    /// spoken to in HTTP/1.1.
    Http2ForHttp1,
}
