//! Which route takes a request, and which of its backends. Made once for each generation; a port without routes has none
//! of this.

mod filter;
mod rule;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, Method, Uri};
use outrigger_wire as wire;

pub use filter::{COPY, Called, Fault, Filters, Own, has_body, is_copy};
pub(crate) use rule::{Rule, field};

use crate::cluster::key;
use crate::telemetry::RouteCounters;

/// The routes of one port of a service.
#[derive(Debug)]
pub struct Routes {
    /// The most specific first.
    rules: Vec<Rule>,
    routes: Vec<Arc<Route>>,
    /// One of them matches or changes what says in which trace a request is, or sends copies.
    pub speak_of_traces: bool,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// As metrics and the access log name it.
    pub name: String,
    /// How long its requests may take; none: as the port says. Zero: no limit.
    pub timeout: Option<Duration>,
    /// How long request and response may last; none: as the port says. Zero: no limit.
    pub stream: Option<Duration>,
    /// How long nothing of them may move; none: as the port says. Zero: no limit.
    pub stream_idle: Option<Duration>,
    /// What it does to requests and answers.
    pub filters: Filters,
    /// Looked up with its first request.
    pub counters: OnceLock<Arc<RouteCounters>>,
    /// What keeps requests at the same backend.
    pub sticky: Option<wire::HashOn>,
    backends: Vec<Backend>,
    /// So that who is together at a backend is not together at one of its endpoints as well.
    salt: u64,
    /// Sum of the weights.
    weight: u64,
}

#[derive(Debug)]
struct Backend {
    cluster: Option<Arc<str>>,
    weight: u64,
}

/// A route that takes a request.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
    /// How many bytes of the path are the prefix that matched.
    pub prefix: usize,
}

/// Where a route sends one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// To the called port's own cluster.
    Own,
    /// To this cluster.
    Cluster(Arc<str>),
    /// There is no such service for this caller, or nothing has a weight.
    Nowhere,
}

impl Routes {
    /// Keys of the clusters that they lead to.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().flat_map(|route| &route.backends).filter_map(|backend| backend.cluster.as_deref())
    }

    /// Makes them ready for `caller` (`web.shop`); matches for other callers are left out.
    ///
    /// # Errors
    /// What cannot be matched, for a person: a pattern, a method, a header's name.
    pub fn new(routes: &[wire::Route], caller: &str) -> Result<Self, String> {
        let everything = [wire::RouteMatch::default()];
        let mut rules = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let matches = if route.matches.is_empty() { &everything[..] } else { &route.matches };
            for said in matches.iter().filter(|said| said.from.is_empty() || said.from.contains(caller)) {
                let rule = Rule::new(said, index).map_err(|why| format!("route {}: {why}", route.name))?;
                rules.push(rule);
            }
        }
        // Equals stay in the order of the mesh file.
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.rank));
        let route = |route: &wire::Route| {
            let made = Route::new(route).map_err(|why| format!("route {}: {why}", route.name))?;
            Ok::<_, String>(Arc::new(made))
        };
        let speak_of_traces = routes.iter().any(speaks_of_traces);
        Ok(Self { rules, routes: routes.iter().map(route).collect::<Result<_, _>>()?, speak_of_traces })
    }

    /// The route that takes a request.
    pub fn find(&self, method: &Method, uri: &Uri, headers: &HeaderMap, grpc: bool) -> Option<Found<'_>> {
        let rule = self.rules.iter().find(|rule| rule.takes(method, uri, headers, grpc))?;
        Some(Found { route: self.routes.get(rule.route)?, prefix: rule.prefix() })
    }
}

fn speaks_of_traces(route: &wire::Route) -> bool {
    let edits = &route.request_headers;
    let edited = edits.set.keys().chain(edits.add.keys()).chain(&edits.remove);
    let matched = route.matches.iter().flat_map(|said| said.headers.keys());
    let is_said =
        |name: &String| ["traceparent", "tracestate"].iter().any(|of| name.eq_ignore_ascii_case(of));
    route.mirror.is_some() || edited.chain(matched).any(is_said)
}

impl Route {
    fn new(route: &wire::Route) -> Result<Self, String> {
        let backend = |backend: &wire::Backend| Backend {
            cluster: backend.cluster.as_deref().map(Arc::from),
            weight: backend.weight.into(),
        };
        let backends: Vec<Backend> = route.backends.iter().map(backend).collect();
        Ok(Self {
            name: route.name.clone(),
            timeout: route.request_ms.map(Duration::from_millis),
            stream: route.stream_ms.map(Duration::from_millis),
            stream_idle: route.stream_idle_ms.map(Duration::from_millis),
            filters: Filters::new(route)?,
            sticky: route.sticky.clone(),
            salt: key::of(route.name.as_bytes()),
            counters: OnceLock::new(),
            weight: backends.iter().map(|backend| backend.weight).sum(),
            backends,
        })
    }

    /// Draws a backend by weight; the same for the same `key` as long as the weights are, and for most where they change a
    /// little.
    pub fn draw(&self, rng: &mut fastrand::Rng, key: Option<u64>) -> Drawn {
        if self.backends.is_empty() {
            return Drawn::Own;
        }
        if self.weight == 0 {
            return Drawn::Nowhere;
        }
        let mut left = match key {
            None => rng.u64(..self.weight),
            // Below the weight: a fraction of 2^64, times it.
            Some(key) => {
                let scaled = u128::from(key::score(key, self.salt)) * u128::from(self.weight);
                u64::try_from(scaled >> 64).unwrap_or_default()
            }
        };
        for backend in &self.backends {
            match left.checked_sub(backend.weight) {
                Some(rest) => left = rest,
                None => return backend.cluster.clone().map_or(Drawn::Nowhere, Drawn::Cluster),
            }
        }
        Drawn::Nowhere
    }
}

#[cfg(test)]
mod tests;
