//! Routes: which requests to a service go where. The words are those of the Gateway API.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::policy::HashOn;

/// What becomes of the requests that it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// As metrics and the access log name it; none: its number in the list, from 1.
    pub name: Option<String>,
    /// It takes a request that one of these takes; empty: every request.
    pub matches: Vec<RouteMatch>,
    /// Where they go, by weight; empty: to the service itself.
    pub backends: Vec<Backend>,
    /// What keeps requests at the same backend; none: each is drawn by itself.
    pub sticky: Option<HashOn>,
    /// How long they may take; none: as the service says. Zero: no limit.
    pub timeout: Option<Duration>,
    /// How long request and response may last as a whole; none: as the service says. Zero: no limit.
    pub stream: Option<Duration>,
    /// How long nothing of them may move; none: as the service says. Zero: no limit.
    pub stream_idle: Option<Duration>,
    /// What is done to them, and to their answers.
    pub filters: Filters,
}

/// What is done to requests and to their answers on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Fields of the request.
    pub request_headers: HeaderEdits,
    /// Fields of the application's response.
    pub response_headers: HeaderEdits,
    /// Another path.
    pub rewrite_path: Option<PathEdit>,
    /// Another host.
    pub rewrite_host: Option<String>,
    /// Sends the caller elsewhere.
    pub redirect: Option<Redirect>,
    /// Answers at once.
    pub respond: Option<Respond>,
    /// Sends a copy elsewhere.
    pub mirror: Option<Mirror>,
    /// Makes requests late, or fail.
    pub fault: Option<Injected>,
}

/// Edits of fields; names in lower case, each in one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Replaces all of that name.
    pub set: BTreeMap<String, String>,
    /// One more of that name.
    pub add: BTreeMap<String, String>,
    /// None of that name.
    pub remove: BTreeSet<String>,
}

/// Edits of paths; the query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathEdit {
    /// In place of the prefix that matched.
    Prefix(String),
    /// In place of the whole path.
    Full(String),
}

/// Where a caller is sent instead; what is not said stays as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Name or address.
    pub host: Option<String>,
    /// Another path.
    pub path: Option<PathEdit>,
    /// None: that of the scheme, or the called one where no scheme is said.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// An answer that is given at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// Text.
    pub body: String,
    /// Its fields; names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// Copies that nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where they go; the weight says nothing.
    pub to: Backend,
    /// Of how many requests.
    pub share: Share,
}

/// Faults put in on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// Before the request is sent on.
    pub delay: Option<Duration>,
    /// In place of the application's answer: a status, 200 to 599.
    pub abort: Option<u16>,
    /// To how many requests.
    pub share: Share,
}

/// A part of a whole, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(pub u32);

impl Share {
    /// All.
    pub const WHOLE: Self = Self(1_000_000);

    /// Reads `20%` or `0.5%`, to four digits after the point.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 4 {
            return None;
        }
        let part = format!("{part:0<4}").parse::<u32>().ok()?;
        let millionths = whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(part)?;
        (millionths <= Self::WHOLE.0).then_some(Self(millionths))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        match part {
            0 => write!(f, "{whole}%"),
            part => write!(f, "{whole}.{}%", format!("{part:04}").trim_end_matches('0')),
        }
    }
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
