//! What a sidecar is told.
//!
//! Two things live here: [`ProxyConfig`], the configuration a sidecar runs (the same type is the
//! YAML file of `outrigger-sidecar --config FILE`), and [`control`], the messages and the gRPC
//! service that carry it over the control socket. This crate knows neither the model nor a process.

pub mod balance;
mod catalog;
mod check;
pub mod config;
pub mod control;
pub mod inbound;
pub mod policy;
pub mod port;
pub mod resource;
mod route;
mod shared;
mod spiffe;
mod wanted;

pub use balance::{Balance, HashOn};
pub use catalog::{Catalog, Change};
pub use check::{Ask, Check};
pub use config::{
    Cluster, Endpoint, InboundPort, Listener, ListenerKind, Mode, Protocol, Proxy, ProxyConfig,
    ProxyProtocol, Service, ServicePort, Target, Timeouts, Transport,
};
pub use inbound::{Capacity, RateLimit};
pub use policy::Policy;
pub use resource::{ApplyError, Held, Resource};
pub use route::{
    Backend, HeaderEdits, Injected, Mirror, PathEdit, PathMatch, Redirect, Respond, Rewrite, Route,
    RouteMatch, TextMatch,
};
pub use shared::Shared;
pub use spiffe::{InvalidSpiffeId, SpiffeId};
pub use wanted::{Common, Hashes, Wanted};
