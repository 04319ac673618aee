//! What clients are told of limits: `RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers-11 (lists of
//! structured fields, RFC 9651), `Retry-After` (RFC 9110 section 10.2.3), and gRPC's `grpc-retry-pushback-ms` (gRFC A6).

use std::fmt::Write;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use super::buckets::Level;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The limits that took a request, as both fields list them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    policy: String,
    limit: String,
}

impl Fields {
    /// One more limit. Names are of letters, digits, `-` and `_`, and need no escape; `policy` is what [`policy`] gave.
    pub(super) fn add(&mut self, name: &str, policy: &str, level: Level) {
        if !self.policy.is_empty() {
            self.policy.push_str(", ");
            self.limit.push_str(", ");
        }
        self.policy.push_str(policy);
        // Writing to a string does not fail.
        let _infallible = write!(self.limit, "\"{name}\";r={};t={}", level.left, seconds(level.next));
    }

    /// Tells who asked. What the application says of limits of its own stays beside it.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, text) in [(POLICY, &self.policy), (LIMIT, &self.limit)] {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.append(name, value);
            }
        }
    }
}

/// A limit as `RateLimit-Policy` lists it.
pub(super) fn policy(name: &str, requests: u32, window_s: u32) -> String {
    format!("\"{name}\";q={requests};w={window_s}")
}

/// When to come back.
pub(super) fn retry_after(headers: &mut HeaderMap, wait: Duration, grpc: bool) {
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1)));
    if grpc {
        let ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        headers.insert(PUSHBACK, HeaderValue::from(ms));
    }
}

/// Whole seconds, rounded up: who waits so long does not come too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_listed_and_times_rounded_up() {
        let mut fields = Fields::default();
        fields.add("a", &policy("a", 100, 1), Level { left: 9, next: Duration::from_millis(3) });
        fields.add("2", &policy("2", 600, 60), Level { left: 0, next: Duration::from_millis(1500) });
        let mut headers = HeaderMap::new();
        headers.insert(LIMIT, HeaderValue::from_static("\"app\";r=1"));
        fields.write(&mut headers);
        retry_after(&mut headers, Duration::from_millis(1500), true);
        assert_eq!(headers["ratelimit-policy"], "\"a\";q=100;w=1, \"2\";q=600;w=60");
        let said: Vec<_> = headers.get_all("ratelimit").iter().collect();
        assert_eq!(said, ["\"app\";r=1", "\"a\";r=9;t=1, \"2\";r=0;t=2"]);
        assert_eq!(
            (&headers["retry-after"], &headers["grpc-retry-pushback-ms"]),
            (&"2".parse().unwrap(), &"1500".parse().unwrap())
        );
    }
}
