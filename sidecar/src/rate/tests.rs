use http::Request;

use super::*;

fn rates(yaml: &str, before: Option<&Rates>) -> Arc<Rates> {
    let said: Vec<wire::RateLimit> = serde_yaml::from_str(yaml).unwrap();
    Rates::new(&said, before).unwrap().unwrap()
}

/// Asks as `caller` (none: in plaintext), with fields as text; the limit that refuses.
fn ask(
    rates: &Rates,
    method: &str,
    caller: Option<&str>,
    fields: &[(&str, &str)],
    now: Instant,
) -> Result<usize, String> {
    let mut request = Request::builder().method(method).uri("/items");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    let caller = caller.map(|service| format!("{service}.shop"));
    let asked = Asked {
        method: request.method(),
        uri: request.uri(),
        headers: request.headers(),
        grpc: false,
        caller: caller.as_deref(),
        source: "10.0.0.1".parse().unwrap(),
    };
    let admitted = rates.admit(asked, now, |_| Arc::default());
    let limits = |fields: Fields| {
        let mut headers = HeaderMap::new();
        fields.write(&mut headers);
        headers["ratelimit"].to_str().unwrap().split(',').count()
    };
    admitted.map(|fields| fields.map_or(0, limits)).map_err(|refusal| refusal.limit)
}

#[test]
fn a_request_passes_all_that_take_it_and_is_counted_at_none_if_one_refuses() {
    let rates = rates(
        "
- { name: all, requests: 1, window_s: 3600, burst: 3 }
- { name: writes, requests: 1, window_s: 3600, burst: 1, matches: [ { method: POST } ] }
",
        None,
    );
    let now = Instant::now();
    assert_eq!(ask(&rates, "POST", None, &[], now), Ok(2));
    for _ in 0..5 {
        assert_eq!(ask(&rates, "POST", None, &[], now), Err("writes".into()));
    }
    // What was refused took nothing from the other.
    assert_eq!([0, 1].map(|_| ask(&rates, "GET", None, &[], now)), [Ok(1), Ok(1)]);
    assert_eq!(ask(&rates, "GET", None, &[], now), Err("all".into()));
    assert_eq!(ask(&rates, "GET", None, &[], now + Duration::from_secs(3600)), Ok(1));
}

#[test]
fn callers_addresses_and_values_have_buckets_of_their_own() {
    let one = |per: &str| {
        rates(&format!("[ {{ name: a, requests: 1, window_s: 3600, burst: 1, per: {per} }} ]"), None)
    };
    let now = Instant::now();
    let refused = || Err("a".to_owned());
    let callers = one("caller");
    for caller in [Some("web"), Some("stock"), None] {
        assert_eq!([0, 1].map(|_| ask(&callers, "GET", caller, &[], now)), [Ok(1), refused()], "{caller:?}");
    }
    let source = one("source");
    assert_eq!([Some("web"), None].map(|caller| ask(&source, "GET", caller, &[], now)), [Ok(1), refused()]);
    let header = one("!header x-user");
    for fields in [&[("x-user", "ann")][..], &[("x-user", "bob")], &[]] {
        assert_eq!([0, 1].map(|_| ask(&header, "GET", None, fields, now)), [Ok(1), refused()], "{fields:?}");
    }
}

#[test]
fn who_calls_is_proven() {
    let rates = rates(
        "[ { name: a, requests: 1, window_s: 3600, burst: 1, matches: [ { from: [ web.shop ] } ] } ]",
        None,
    );
    let now = Instant::now();
    assert_eq!(
        ask(&rates, "GET", Some("stock"), &[("x-forwarded-client-cert", "URI=spiffe://a/shop/web")], now),
        Ok(0)
    );
    assert_eq!(ask(&rates, "GET", None, &[], now), Ok(0));
    assert_eq!([0, 1].map(|_| ask(&rates, "GET", Some("web"), &[], now)), [Ok(1), Err("a".into())]);
}

#[test]
fn limits_that_stay_keep_what_they_counted() {
    let both = "[ { name: a, requests: 1, window_s: 3600, burst: 1 }, { name: b, requests: 1, window_s: 60, burst: 9, per: caller } ]";
    let before = rates(both, None);
    let now = Instant::now();
    assert_eq!(ask(&before, "GET", None, &[], now), Ok(2));
    let same = rates(&both.replace("burst: 9", "burst: 8"), Some(&before));
    assert_eq!(ask(&same, "GET", None, &[], now), Err("a".into()));
    let other = rates(&both.replace("3600", "1800"), Some(&same));
    assert_eq!(ask(&other, "GET", None, &[], now), Ok(2));
    let none = Rates::new(&[], Some(&other)).unwrap();
    assert!(none.is_none());
}

#[test]
fn what_cannot_be_matched_is_told() {
    let bad = r#"[ { name: a, requests: 1, window_s: 1, burst: 1, matches: [ { path: !regex "(" } ] } ]"#;
    let said: Vec<wire::RateLimit> = serde_yaml::from_str(bad).unwrap();
    assert!(Rates::new(&said, None).unwrap_err().starts_with("rate limit a: pattern"));
}
