//! W3C Trace Context, level 1: every request has a `traceparent`, so that the lines of all access logs on its way, and the
//! spans of applications, can be joined. This sidecar exports no spans; a request that is in a trace already passes as it is
//! (section 3.4: who does not take part passes on what came), for a parent that nobody exports would tear the trace apart. A
//! new one is sampled (`01`): the tracing of applications follows what comes in, by default; with `00` the mesh would
//! silently switch it off wherever a caller has none.
//!
//! One that is new is written as late as can be: where nobody here names it, a request goes to a peer's sidecar without, and
//! that one begins it. HTTP/2 cannot keep what is never the same twice, and to encode it and to read it is a tenth of all that
//! two sidecars do for a small request.

use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};

use super::hop;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-<32 hex: trace>-<16 hex: parent>-<2 hex: flags>`
const LENGTH: usize = 55;
/// The value of a new `traceparent`.
pub(super) type New = [u8; LENGTH];
/// Where the trace's id lies.
const TRACE: std::ops::Range<usize> = 3..35;
/// Where the parent's id lies.
const PARENT: std::ops::Range<usize> = 36..52;

/// Nothing is said of a trace.
pub(super) fn is_unsaid(headers: &HeaderMap) -> bool {
    headers.keys().all(|name| *name != TRACEPARENT && *name != TRACESTATE)
}

/// Gives a request that is in no trace a new one. What is none by the specification is replaced, and its `tracestate` with
/// it.
pub(super) fn begin(headers: &mut HeaderMap, rng: impl FnOnce() -> (u128, u64)) {
    match headers.entry(TRACEPARENT) {
        Entry::Occupied(mut place) => {
            let mut lines = place.iter();
            if let (Some(only), None) = (lines.next(), lines.next())
                && trace_of(only.as_bytes()).is_some()
            {
                place.get_mut().set_sensitive(true);
                return;
            }
            place.insert(value(&new(rng())));
        }
        Entry::Vacant(place) => drop(place.insert(value(&new(rng())))),
    }
    if hop::has(headers, &TRACESTATE) {
        headers.remove(TRACESTATE);
    }
}

/// The id of a request's trace, 32 hexadecimal digits.
pub(super) fn id(headers: &HeaderMap) -> Option<&str> {
    let id = trace_of(headers.get(TRACEPARENT)?.as_bytes())?;
    std::str::from_utf8(id).ok()
}

/// Section 3.2: all zeros are no id, and neither may change is the form of what later versions begin with.
fn trace_of(value: &[u8]) -> Option<&[u8]> {
    let is_version_0 = value.starts_with(b"00");
    let length = value.len() == LENGTH || !is_version_0 && value.get(LENGTH) == Some(&b'-');
    let part = |range: std::ops::Range<usize>| value.get(range).filter(|part| all(part, is_hex));
    let dashes = [2, 35, 52].into_iter().all(|at| value.get(at) == Some(&b'-'));
    let version = part(0..2).is_some_and(|version| version != b"ff");
    let flags = part(53..LENGTH).is_some();
    let named = |range| part(range).filter(|id| !all(id, |digit| *digit == b'0'));
    let (trace, parent) = (named(TRACE), named(PARENT));
    trace.filter(|_| parent.is_some() && length && dashes && version && flags)
}

/// Without a way out before the end, which lets the compiler look at many bytes at once.
fn all(part: &[u8], is: impl Fn(&u8) -> bool) -> bool {
    part.iter().fold(true, |all, digit| all & is(digit))
}

/// Lower case alone.
fn is_hex(digit: &u8) -> bool {
    matches!(digit, b'0'..=b'9' | b'a'..=b'f')
}

/// A new one of these ids.
pub(super) fn new((trace, parent): (u128, u64)) -> New {
    let mut text = *b"00-................................-................-01";
    put_hex(text.get_mut(TRACE), &trace.max(1).to_be_bytes());
    put_hex(text.get_mut(PARENT), &parent.max(1).to_be_bytes());
    text
}

/// Never the same twice: HTTP/2 is told not to keep it in its table (RFC 7541 section 6.2.3), where it would push out what
/// comes again.
fn value(text: &New) -> HeaderValue {
    let mut value = HeaderValue::from_bytes(text).expect("digits and dashes");
    value.set_sensitive(true);
    value
}

fn put_hex(text: Option<&mut [u8]>, id: &[u8]) {
    let digit = |four: u8| if four < 10 { b'0' + four } else { b'a' - 10 + four };
    for (place, byte) in text.unwrap_or_default().chunks_exact_mut(2).zip(id) {
        place.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification, section 3.2.
    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn begun(lines: &[&str]) -> HeaderMap {
        let mut headers: HeaderMap = lines.iter().map(|line| (TRACEPARENT, line.parse().unwrap())).collect();
        headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        begin(&mut headers, || (0xabc, 0));
        headers
    }

    #[test]
    fn a_trace_goes_on_as_it_came() {
        let later = format!("cc{}-what-the-future-holds", &GOOD[2..]);
        let later_alone = format!("cc{}", &GOOD[2..]);
        for good in [GOOD, &GOOD.replace("-01", "-00"), &later, &later_alone] {
            let headers = begun(&[good]);
            assert_eq!(headers.get_all(TRACEPARENT).iter().collect::<Vec<_>>(), [good]);
            assert_eq!(headers[TRACESTATE], "vendor=1");
            assert_eq!(id(&headers), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        }
    }

    #[test]
    fn what_is_no_trace_is_replaced_whole() {
        let longer = format!("{GOOD}-more");
        let glued = format!("cc{}x", &GOOD[2..]);
        let bad = [
            "",
            "0",
            &GOOD[1..],
            &GOOD[..54],
            &longer,
            &glued,
            &GOOD.replace("00-4b", "ff-4b"),
            &GOOD.replace('f', "F"),
            &GOOD.replace("4bf9", "4bg9"),
            &GOOD.replace("-01", "_01"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ];
        for lines in bad.iter().map(std::slice::from_ref).chain([&[GOOD, GOOD][..], &[]]) {
            let headers = begun(lines);
            let new = "00-00000000000000000000000000000abc-0000000000000001-01";
            assert_eq!(headers.get_all(TRACEPARENT).iter().collect::<Vec<_>>(), [new], "{lines:?}");
            assert!(!headers.contains_key(TRACESTATE));
        }
    }
}
