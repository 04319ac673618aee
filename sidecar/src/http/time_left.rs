//! The time that is left for a request travels with it, so that nobody works on what nobody waits for any more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::error::RequestError;
use super::head::Request;
use super::open::Attempts;
use super::origin::{Origin, is_grpc};

/// Until when the request must be answered: milliseconds since 1970. A moment and not a length of time: applications
/// pass it on as it came, whatever time they took.
const DEADLINE: HeaderName = HeaderName::from_static("outrigger-deadline");
/// How long a gRPC call may take.
pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// gRPC over HTTP/2: `grpc-timeout` has up to eight digits.
const MOST_GRPC_MS: u128 = 99_999_999;

/// Says how long all attempts together may take.
///
/// # Errors
/// No time is left: it must not be sent.
pub(super) fn bound(
    origin: &Origin,
    request: &mut Request,
    attempts: &mut Attempts,
) -> Result<(), RequestError> {
    attempts.whole = origin.request_limit(request, attempts.grpc, attempts.taken.as_ref());
    if origin.passes_time_on(attempts.taken.as_ref()) {
        attempts.whole = pass_on(&mut request.headers, attempts.whole, SystemTime::now())?;
    }
    let (stream, _) = origin.stream_limits(attempts.taken.as_ref());
    attempts.whole = attempts.whole.into_iter().chain(stream).min();
    Ok(())
}

/// The shorter of `whole` and what the request itself still has; written into it for who comes next.
///
/// # Errors
/// It has none left: it must not be sent.
fn pass_on(
    headers: &mut HeaderMap,
    whole: Option<Duration>,
    now: SystemTime,
) -> Result<Option<Duration>, RequestError> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = headers.get(DEADLINE).and_then(deadline).map(|at| at.saturating_sub(now));
    let Some(left) = left.into_iter().chain(whole).min() else { return Ok(None) };
    if left.is_zero() {
        return Err(RequestError::NoTimeLeft);
    }
    headers.insert(DEADLINE, HeaderValue::from(u64::try_from((now + left).as_millis()).unwrap_or(u64::MAX)));
    if is_grpc(headers) && left.as_millis() <= MOST_GRPC_MS {
        let text = format!("{}m", left.as_millis().max(1));
        headers.insert(GRPC_TIMEOUT, HeaderValue::try_from(text).expect("digits and a letter"));
    }
    Ok(Some(left))
}

/// Decimal, up to 15 digits; what is anything else says nothing.
fn deadline(value: &HeaderValue) -> Option<Duration> {
    let digits = value.to_str().ok().filter(|text| text.len() <= 15)?;
    let digits = Some(digits).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(said: &[(&'static str, &str)], whole_ms: Option<u64>) -> (Option<u128>, HeaderMap) {
        let name = |name: &'static str| HeaderName::from_static(name);
        let mut headers = said.iter().map(|(n, v)| (name(n), v.parse().unwrap())).collect();
        let now = UNIX_EPOCH + Duration::from_millis(1_000_000);
        let left = pass_on(&mut headers, whole_ms.map(Duration::from_millis), now);
        (left.map_or(Some(0), |left| left.map(|left| left.as_millis())), headers)
    }

    #[test]
    fn the_nearer_end_counts_and_travels() {
        let at = "outrigger-deadline";
        for (said, whole, left) in
            [(None, Some(500), 500), (Some("1000200"), Some(500), 200), (Some("1000900"), Some(500), 500)]
        {
            let said: Vec<_> = said.map(|said| (at, said)).into_iter().collect();
            let (found, headers) = passed(&said, whole);
            assert_eq!(found, Some(left));
            assert_eq!(headers[at], (1_000_000 + left).to_string());
        }
        assert_eq!(passed(&[], None), (None, HeaderMap::new()));
        for odd in ["", "soon", "-5", "1e9", "9999999999999999"] {
            assert_eq!(passed(&[(at, odd)], Some(7)).0, Some(7), "{odd}");
        }
    }

    #[test]
    fn what_has_passed_is_refused() {
        assert_eq!(passed(&[("outrigger-deadline", "1000000")], Some(500)).0, Some(0));
        assert_eq!(passed(&[("outrigger-deadline", "5")], None).0, Some(0));
    }

    #[test]
    fn grpc_is_told_in_its_own_words() {
        let grpc = ("content-type", "application/grpc");
        let (_, headers) = passed(&[grpc, ("outrigger-deadline", "1000200")], Some(500));
        assert_eq!(headers["grpc-timeout"], "200m");
        let (_, headers) = passed(&[grpc], None);
        assert!(!headers.contains_key("grpc-timeout"));
    }
}
