//! Routes: which requests to a service go where. The words are those of the Gateway API.

use std::collections::BTreeMap;
use std::time::Duration;

/// What becomes of the requests that it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// As metrics and the access log name it; none: its number in the list, from 1.
    pub name: Option<String>,
    /// It takes a request that one of these takes; empty: every request.
    pub matches: Vec<RouteMatch>,
    /// Where they go, by weight; empty: to the service itself.
    pub backends: Vec<Backend>,
    /// How long they may take; none: as the service says. Zero: no limit.
    pub timeout: Option<Duration>,
}

/// Takes the requests that fit all it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// The path, as sent.
    pub path: Option<PathMatch>,
    /// The method.
    pub method: Option<String>,
    /// Fields, by name in lower case.
    pub headers: BTreeMap<String, TextMatch>,
    /// Parameters of the query, as sent.
    pub query: BTreeMap<String, TextMatch>,
    /// A call of gRPC.
    pub grpc: Option<GrpcMatch>,
    /// The calling services (`web`, `web.shop`); empty: whoever.
    pub from: Vec<String>,
}

/// Paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This one.
    Exact(String),
    /// This one, and all below it, by whole segments.
    Prefix(String),
    /// Those that fit the pattern from start to end.
    Regex(String),
}

/// Values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextMatch {
    /// This one.
    Exact(String),
    /// Those that fit the pattern from start to end.
    Regex(String),
}

/// Calls of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcMatch {
    /// Its service with its package (`shop.Cart`); none: any.
    pub service: Option<String>,
    /// Its method (`Add`); none: any.
    pub method: Option<String>,
}

/// One place where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The service (`cart`, `cart.shop`); none: the one that has the route.
    pub service: Option<String>,
    /// Only its workloads of this version; none: all.
    pub version: Option<String>,
    /// Its port; none: the one that was called.
    pub port: Option<u16>,
    /// Its share of the requests, as part of the sum over the backends: 0 to 1,000,000.
    pub weight: u32,
}

impl Default for Backend {
    fn default() -> Self {
        Self { service: None, version: None, port: None, weight: 1 }
    }
}

/// A pattern as it is tried: it must fit from start to end.
pub fn whole(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}
