//! One match of a route: whether it takes a request, and before which others it is asked.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Uri};
use outrigger_wire::{PathMatch, RouteMatch, TextMatch};
use regex_lite::{Regex, RegexBuilder};

/// Most memory that a pattern takes, bytes; the check of the mesh file allows less.
const LARGEST_PATTERN: usize = 1 << 20;

/// A match, ready to be tried.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Index of its route.
    pub(super) route: usize,
    /// The greater is asked first.
    pub(super) rank: Rank,
    path: Path,
    method: Option<Method>,
    headers: Vec<(HeaderName, Text)>,
    query: Vec<(String, Text)>,
    grpc: bool,
}

/// Gateway API, HTTPRoute, "matches": an exact path, the longest prefix, a method, the most headers, the most query
/// parameters. Where a pattern stands is the implementation's; here behind an exact path, before all prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    path: Specific,
    length: usize,
    method: bool,
    /// GRPCRoute has no method of HTTP: the length of gRPC's stands in its place.
    call: usize,
    headers: usize,
    query: usize,
    caller: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Specific {
    Prefix,
    Regex,
    Exact,
}

#[derive(Debug)]
enum Path {
    Exact(String),
    /// Without the slash at its end.
    Prefix(String),
    Regex(Regex),
    Call(String),
}

#[derive(Debug)]
enum Text {
    Exact(String),
    Regex(Regex),
}

impl Rule {
    pub fn new(said: &RouteMatch, route: usize) -> Result<Self, String> {
        let path = match &said.path {
            None => Path::Prefix(String::new()),
            Some(PathMatch::Exact(path)) => Path::Exact(path.clone()),
            Some(PathMatch::Prefix(path)) => Path::Prefix(path.trim_end_matches('/').to_owned()),
            Some(PathMatch::Regex(pattern)) => Path::Regex(regex(pattern)?),
            Some(PathMatch::Call(method)) => Path::Call(method.clone()),
        };
        let method = said.method.as_ref().map(|method| {
            Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` cannot be a method"))
        });
        let header = |(name, value): (&String, &TextMatch)| {
            let header = HeaderName::from_bytes(name.as_bytes());
            Ok::<_, String>((header.map_err(|_| format!("`{name}` cannot be a header"))?, text(value)?))
        };
        let parameter = |(name, value): (&String, &TextMatch)| Ok::<_, String>((name.clone(), text(value)?));
        Ok(Self {
            route,
            rank: Rank {
                path: match path {
                    Path::Exact(_) => Specific::Exact,
                    Path::Regex(_) => Specific::Regex,
                    Path::Prefix(_) | Path::Call(_) => Specific::Prefix,
                },
                length: match &path {
                    Path::Exact(path) | Path::Prefix(path) => path.len(),
                    Path::Regex(_) | Path::Call(_) => 0,
                },
                method: said.method.is_some() || said.grpc,
                call: if let Path::Call(method) = &path { method.len() } else { 0 },
                headers: said.headers.len(),
                query: said.query.len(),
                caller: !said.from.is_empty(),
            },
            path,
            method: method.transpose()?,
            headers: said.headers.iter().map(header).collect::<Result<_, _>>()?,
            query: said.query.iter().map(parameter).collect::<Result<_, _>>()?,
            grpc: said.grpc,
        })
    }

    /// How many bytes of a path that it takes are its prefix.
    pub fn prefix(&self) -> usize {
        if let Path::Prefix(prefix) = &self.path { prefix.len() } else { 0 }
    }

    pub fn takes(&self, method: &Method, uri: &Uri, headers: &HeaderMap, grpc: bool) -> bool {
        self.path.takes(uri.path())
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && (grpc || !self.grpc)
            && self
                .headers
                .iter()
                .all(|(name, text)| field(uri, headers, name).is_some_and(|value| text.takes(&value)))
            && self.query.iter().all(|(name, text)| {
                parameter(uri.query().unwrap_or_default(), name)
                    .is_some_and(|value| text.takes(value.as_bytes()))
            })
    }
}

impl Path {
    /// RFC 3986 section 3.3, segment by segment, as sent: what decodes to the same is not the same here.
    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    || prefix.is_empty()
            }
            Self::Regex(regex) => regex.is_match(path),
            Self::Call(method) => {
                let call = path.strip_prefix('/').and_then(|path| path.split_once('/'));
                call.is_some_and(|(_, called)| called == method)
            }
        }
    }
}

impl Text {
    fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value)),
        }
    }
}

fn text(said: &TextMatch) -> Result<Text, String> {
    match said {
        TextMatch::Exact(text) => Ok(Text::Exact(text.clone())),
        TextMatch::Regex(pattern) => regex(pattern).map(Text::Regex),
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
    built.map_err(|error| format!("pattern `{pattern}`: {error}"))
}

/// The value of a field; the lines of one that is there several times are one list (RFC 9110 section 5.3).
pub(crate) fn field<'a>(uri: &'a Uri, headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    // A head has few: to look at each costs less than to hash the name.
    let mut lines = headers.iter().filter_map(|(key, value)| (key == name).then_some(value.as_bytes()));
    let Some(first) = lines.next() else {
        // HTTP/2 has it in `:authority`.
        let authority = uri.authority().filter(|_| *name == header::HOST)?;
        return Some(Cow::Borrowed(authority.as_str().as_bytes()));
    };
    let mut value = Cow::Borrowed(first);
    for line in lines {
        let value = value.to_mut();
        value.extend_from_slice(b", ");
        value.extend_from_slice(line);
    }
    Some(value)
}

/// The first parameter of that name; without `=` it is empty.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name && !pair.is_empty()).then_some(value)
    })
}
