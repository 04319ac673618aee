//! What a route does to a request and to its answer. Pure: heads in, heads out.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Method, StatusCode};
use outrigger_wire as wire;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Shares are parts of this.
const WHOLE: u32 = 1_000_000;

/// The filters of one route.
#[derive(Debug, Default)]
pub struct Filters {
    request: Edits,
    response: Edits,
    path: Option<wire::PathEdit>,
    host: Option<Authority>,
    redirect: Option<wire::Redirect>,
    respond: Option<Respond>,
    mirror: Option<(std::sync::Arc<str>, u32)>,
    fault: Option<wire::Injected>,
}

#[derive(Debug)]
struct Respond {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A fault that is put into one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Wait before anything else.
    pub delay: Option<Duration>,
    /// Answer with this status.
    pub abort: Option<StatusCode>,
}

/// An answer that the route gives itself.
#[derive(Debug)]
pub struct Own {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Filters {
    /// Makes them ready.
    ///
    /// # Errors
    /// What cannot stand in a head, for a person.
    pub fn new(route: &wire::Route) -> Result<Self, String> {
        let host = route.rewrite.as_ref().and_then(|rewrite| rewrite.host.as_ref());
        let host = host.map(|host| host.parse().map_err(|_| format!("`{host}` cannot be a host")));
        let mirror =
            route.mirror.as_ref().and_then(|mirror| Some((mirror.cluster.as_deref()?.into(), mirror.share)));
        if let Some(redirect) = &route.redirect {
            status(redirect.status)?;
        }
        if let Some(abort) = route.fault.as_ref().and_then(|fault| fault.abort) {
            status(abort)?;
        }
        Ok(Self {
            request: Edits::new(&route.request_headers)?,
            response: Edits::new(&route.response_headers)?,
            path: route.rewrite.as_ref().and_then(|rewrite| rewrite.path.clone()),
            host: host.transpose()?,
            redirect: route.redirect.clone(),
            respond: route.respond.as_ref().map(Respond::new).transpose()?,
            mirror,
            fault: route.fault.clone(),
        })
    }

    /// The fault of one request.
    pub fn fault(&self, rng: &mut fastrand::Rng) -> Fault {
        let Some(fault) = self.fault.as_ref().filter(|fault| rng.u32(..WHOLE) < fault.share) else {
            return Fault::default();
        };
        let abort = fault.abort.and_then(|status| StatusCode::from_u16(status).ok());
        Fault { delay: fault.delay_ms.map(Duration::from_millis), abort }
    }

    /// Where a copy of one request goes.
    pub fn mirror(&self, rng: &mut fastrand::Rng) -> Option<std::sync::Arc<str>> {
        let (cluster, share) = self.mirror.as_ref()?;
        (rng.u32(..WHOLE) < *share).then(|| cluster.clone())
    }

    /// The answer that the route gives itself. `prefix`: the length of what matched of the path.
    pub fn own_answer(&self, uri: &Uri, headers: &HeaderMap, prefix: usize, called: Called) -> Option<Own> {
        if let Some(respond) = &self.respond {
            let (headers, body) = (respond.headers.clone(), respond.body.clone());
            return Some(Own { status: respond.status, headers, body });
        }
        let redirect = self.redirect.as_ref()?;
        let mut answer = HeaderMap::new();
        if let Ok(location) = HeaderValue::try_from(location(redirect, uri, headers, prefix, called)) {
            answer.insert(header::LOCATION, location);
        }
        answer.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
        Some(Own { status, headers: answer, body: Bytes::new() })
    }

    /// Whether [`Filters::edit_request`] changes what is asked for.
    pub fn changes_uri(&self) -> bool {
        self.path.is_some() || self.host.is_some()
    }

    /// Changes what the request asks for, and its fields.
    ///
    /// # Errors
    /// The path that comes out is none.
    pub fn edit_request(
        &self,
        uri: &mut Uri,
        headers: &mut HeaderMap,
        prefix: usize,
    ) -> Result<(), &'static str> {
        if let Some(edit) = self.path.as_ref().filter(|_| uri.path().starts_with('/')) {
            let path = edited(edit, uri.path(), prefix);
            *uri = with_path(uri, &path)?;
        }
        if let Some(host) = &self.host {
            rehost(host, uri, headers)?;
        }
        self.request.apply(headers);
        Ok(())
    }

    /// Changes fields of the application's response.
    pub fn edit_response(&self, headers: &mut HeaderMap) {
        self.response.apply(headers);
    }
}

impl Respond {
    fn new(said: &wire::Respond) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        let body = Bytes::from(said.body.clone());
        if !body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        for (name, value) in &said.headers {
            let (name, value) = field(name, value)?;
            headers.insert(name, value);
        }
        let status = status(said.status)?;
        if ![204, 205, 304].contains(&said.status) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok(Self { status, headers, body })
    }
}

/// Edits of fields, ready to be applied.
#[derive(Debug, Default)]
struct Edits {
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Edits {
    fn new(said: &wire::HeaderEdits) -> Result<Self, String> {
        let fields = |fields: &std::collections::BTreeMap<String, String>| {
            fields.iter().map(|(name, value)| field(name, value)).collect::<Result<Vec<_>, _>>()
        };
        let remove = said.remove.iter().map(|name| self::name(name));
        Ok(Self {
            set: fields(&said.set)?,
            add: fields(&said.add)?,
            remove: remove.collect::<Result<_, _>>()?,
        })
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

fn status(code: u16) -> Result<StatusCode, String> {
    let status = StatusCode::from_u16(code).ok().filter(|status| !status.is_informational());
    status.ok_or_else(|| format!("{code} cannot be the status of an answer"))
}

/// What speaks of the connection or of the body's end stays ours, whatever a configuration file says.
fn name(text: &str) -> Result<HeaderName, String> {
    const OURS: [HeaderName; 6] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let name = HeaderName::from_bytes(text.as_bytes()).ok().filter(|name| !OURS.contains(name));
    name.ok_or_else(|| format!("`{text}` is no header that a route can change"))
}

fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let checked =
        HeaderValue::from_str(value).map_err(|_| format!("`{value}` cannot be the value of `{name}`"))?;
    Ok((self::name(name)?, checked))
}

/// Gateway API, HTTPPathModifier: a slash at the end of either prefix says nothing; `/` is the least that comes out.
fn edited(edit: &wire::PathEdit, path: &str, prefix: usize) -> String {
    let replacement = match edit {
        wire::PathEdit::Full(full) => return full.clone(),
        wire::PathEdit::Prefix(replacement) => replacement,
    };
    let rest = path.get(prefix..).unwrap_or_default();
    if rest.is_empty() {
        return replacement.clone();
    }
    format!("{}{rest}", replacement.trim_end_matches('/'))
}

fn with_path(uri: &Uri, path: &str) -> Result<Uri, &'static str> {
    let text = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).map_err(|_| "path after its rewrite")?);
    Uri::from_parts(parts).map_err(|_| "path after its rewrite")
}

/// HTTP/2 has the host in its `:authority`, HTTP/1 in `host`; some have both.
fn rehost(host: &Authority, uri: &mut Uri, headers: &mut HeaderMap) -> Result<(), &'static str> {
    let asked = headers.get(header::HOST).cloned();
    let asked = asked.or_else(|| HeaderValue::from_str(uri.authority()?.as_str()).ok());
    if let Some(asked) = asked.filter(|_| !headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, asked);
    }
    if uri.authority().is_some() {
        let mut parts = uri.clone().into_parts();
        parts.authority = Some(host.clone());
        *uri = Uri::from_parts(parts).map_err(|_| "host after its rewrite")?;
    }
    if uri.authority().is_none() || headers.contains_key(header::HOST) {
        let value = HeaderValue::from_str(host.as_str()).map_err(|_| "host after its rewrite")?;
        headers.insert(header::HOST, value);
    }
    Ok(())
}

/// Gateway API, HTTPRequestRedirectFilter. Always with scheme and host: a path that begins with two slashes stays a path.
fn location(
    redirect: &wire::Redirect,
    uri: &Uri,
    headers: &HeaderMap,
    prefix: usize,
    called: Called,
) -> String {
    let asked = asked(uri, headers);
    let host = redirect.host.as_deref().or(asked.as_ref().map(Authority::host)).unwrap_or_default();
    let scheme = redirect.scheme.as_deref().unwrap_or(if called.https { "https" } else { "http" });
    let usual = if scheme == "https" { 443 } else { 80 };
    let port =
        redirect.port.unwrap_or(if redirect.scheme.is_some() { usual } else { called.port.unwrap_or(usual) });
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let path =
        redirect.path.as_ref().map_or_else(|| uri.path().to_owned(), |edit| edited(edit, uri.path(), prefix));
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    format!("{scheme}://{host}{port}{path}{query}")
}

/// The host and port that a request names.
fn asked(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let host = || headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    uri.authority().cloned().or_else(host)
}

/// How a request came, for what a redirect does not say.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    https: bool,
    /// None: the scheme's.
    port: Option<u16>,
}

impl Called {
    /// By a workload of the mesh, at that port.
    pub fn within(port: u16) -> Self {
        Self { https: false, port: Some(port) }
    }

    /// From outside: the port of the application is not the one that was asked for, where the platform publishes it or a
    /// load balancer stands in between, so the request's own words count.
    pub fn from_outside(uri: &Uri, headers: &HeaderMap) -> Self {
        let https = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
        Self { https, port: asked(uri, headers).and_then(|asked| asked.port_u16()) }
    }
}

/// True of a request that is a copy already.
pub fn is_copy(headers: &HeaderMap) -> bool {
    headers.contains_key(COPY)
}

/// Marks a copy.
pub const COPY: HeaderName = HeaderName::from_static("x-outrigger-mirror");

/// Whether an answer to this has a body.
pub fn has_body(method: &Method, own: &Own) -> bool {
    *method != Method::HEAD && !own.body.is_empty()
}

#[cfg(test)]
mod tests;
