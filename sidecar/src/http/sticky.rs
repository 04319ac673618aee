//! What keeps requests together at one endpoint: the value of a header or of a cookie, or where an outsider comes from.

use std::net::IpAddr;

use http::header;
use outrigger_wire::HashOn;

use super::head::Request;
use super::origin::Origin;
use crate::cluster::key;

/// Its hash; `None` where the request has no such value, or comes from the own application: all that does has one source.
pub(super) fn key(origin: &Origin, on: &HashOn, request: &Request) -> Option<u64> {
    if on.is_default() {
        origin.downstream.plaintext_port()?;
        return Some(match origin.downstream.remote.ip().to_canonical() {
            IpAddr::V4(address) => key::of(&address.octets()),
            IpAddr::V6(address) => key::of(&address.octets()),
        });
    }
    if let Some(name) = &on.header {
        let value = match request.headers.get(name.as_str()) {
            Some(value) => value.as_bytes(),
            // HTTP/2 says the host elsewhere.
            None if name.eq_ignore_ascii_case("host") => request.uri.authority()?.as_str().as_bytes(),
            None => return None,
        };
        return Some(key::of(value));
    }
    let name = on.cookie.as_deref()?;
    // RFC 6265 section 5.4; HTTP/2 may split the field (RFC 9113 section 8.2.3).
    let fields = request.headers.get_all(header::COOKIE).iter();
    let mut cookies = fields.flat_map(|field| field.as_bytes().split(|b| *b == b';'));
    let value = cookies.find_map(|cookie| {
        cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::trim_ascii)
    });
    value.map(key::of)
}
