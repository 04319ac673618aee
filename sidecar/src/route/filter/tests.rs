use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use outrigger_wire::{HeaderEdits, Injected, Mirror, PathEdit, Redirect, Respond, Rewrite, Route};

use super::{Called, Fault, Filters, has_body};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        map.append(name, value);
    }
    map
}

fn rewritten(rewrite: Rewrite, uri: &str, prefix: usize, fields: &mut HeaderMap) -> String {
    let filters = Filters::new(&Route { rewrite: Some(rewrite), ..Route::default() }).unwrap();
    let mut uri: Uri = uri.parse().unwrap();
    filters.edit_request(&mut uri, fields, prefix).unwrap();
    uri.to_string()
}

/// The table of Gateway API's HTTPPathModifier, ReplacePrefixMatch; the query stays.
#[test]
fn a_prefix_is_replaced() {
    for (path, prefix, replacement, want) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "/", "/bar"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo/bar?a=/foo", "/foo", "/x", "/x/bar?a=/foo"),
        ("/foo/bar", "", "/xyz", "/xyz/foo/bar"),
        ("/", "", "/xyz", "/xyz/"),
        ("/foo//bar", "/foo", "/", "//bar"),
        ("*", "", "/xyz", "*"),
    ] {
        let rewrite = Rewrite { path: Some(PathEdit::Prefix(replacement.into())), host: None };
        let found = rewritten(rewrite, path, prefix.len(), &mut HeaderMap::new());
        assert_eq!(found, want, "{path}: {prefix} to {replacement}");
    }
    let full = || Rewrite { path: Some(PathEdit::Full("/x".into())), host: None };
    assert_eq!(rewritten(full(), "/foo/bar?a=1", 4, &mut HeaderMap::new()), "/x?a=1");
    assert_eq!(rewritten(full(), "http://cart/foo", 0, &mut HeaderMap::new()), "http://cart/x");
}

#[test]
fn a_host_is_replaced_and_the_one_asked_for_passed_on() {
    let rewrite = || Rewrite { path: None, host: Some("new:81".into()) };
    let mut h1 = headers(&[("host", "cart")]);
    assert_eq!(rewritten(rewrite(), "/a", 0, &mut h1), "/a");
    assert_eq!(h1, headers(&[("host", "new:81"), ("x-forwarded-host", "cart")]));
    let mut h2 = HeaderMap::new();
    assert_eq!(rewritten(rewrite(), "http://cart/a", 0, &mut h2), "http://new:81/a");
    assert_eq!(h2, headers(&[("x-forwarded-host", "cart")]));
    let mut both = headers(&[("host", "cart"), ("x-forwarded-host", "shop.example")]);
    assert_eq!(rewritten(rewrite(), "http://cart/a", 0, &mut both), "http://new:81/a");
    assert_eq!(both, headers(&[("host", "new:81"), ("x-forwarded-host", "shop.example")]));
}

#[test]
fn fields_are_set_added_and_removed() {
    let edits = HeaderEdits {
        set: [("a".into(), "1".into()), ("new".into(), String::new())].into(),
        add: [("b".into(), "2".into())].into(),
        remove: ["c".into(), "absent".into()].into(),
    };
    let route = Route { request_headers: edits.clone(), response_headers: edits, ..Route::default() };
    let filters = Filters::new(&route).unwrap();
    let before = headers(&[("a", "x"), ("a", "y"), ("b", "1"), ("c", "1"), ("c", "2"), ("d", "1")]);
    let want = headers(&[("a", "1"), ("b", "1"), ("b", "2"), ("d", "1"), ("new", "")]);
    let (mut request, mut response) = (before.clone(), before);
    filters.edit_request(&mut Uri::from_static("/"), &mut request, 0).unwrap();
    filters.edit_response(&mut response);
    assert_eq!((&request, &response), (&want, &want));
}

#[test]
fn a_redirect_says_where_to_go() {
    let none = || Redirect { scheme: None, host: None, path: None, port: None, status: 302 };
    let location = |redirect: Redirect, uri: &str, host: &'static str| {
        let filters = Filters::new(&Route { redirect: Some(redirect), ..Route::default() }).unwrap();
        let fields = if host.is_empty() { HeaderMap::new() } else { headers(&[("host", host)]) };
        let own = filters.own_answer(&uri.parse().unwrap(), &fields, 4, Called::within(8080)).unwrap();
        assert_eq!(own.status, StatusCode::FOUND);
        own.headers["location"].to_str().unwrap().to_owned()
    };
    let https = || Redirect { scheme: Some("https".into()), ..none() };
    for (redirect, host, want) in [
        (https(), "cart:8080", "https://cart/foo/bar?a=1"),
        (Redirect { port: Some(8443), ..https() }, "cart:8080", "https://cart:8443/foo/bar?a=1"),
        (Redirect { scheme: Some("http".into()), ..none() }, "cart:8080", "http://cart/foo/bar?a=1"),
        (Redirect { host: Some("b.example".into()), ..none() }, "cart", "http://b.example:8080/foo/bar?a=1"),
        (Redirect { port: Some(80), ..none() }, "[::1]:8080", "http://[::1]/foo/bar?a=1"),
        (Redirect { path: Some(PathEdit::Prefix("/".into())), ..https() }, "cart", "https://cart/bar?a=1"),
        (Redirect { path: Some(PathEdit::Full("/x".into())), ..https() }, "cart", "https://cart/x?a=1"),
    ] {
        assert_eq!(location(redirect, "/foo/bar?a=1", host), want);
    }
    assert_eq!(location(https(), "http://cart:81/foo", ""), "https://cart/foo", "HTTP/2's :authority");
    assert_eq!(location(https(), "//evil.example/", "cart"), "https://cart//evil.example/");
}

#[test]
fn an_answer_of_its_own() {
    let own = |status, body: &str, fields: &[(&str, &str)]| {
        let headers = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let respond = Some(Respond { status, body: body.into(), headers });
        let filters = Filters::new(&Route { respond, ..Route::default() }).unwrap();
        filters.own_answer(&Uri::from_static("/"), &HeaderMap::new(), 0, Called::within(80)).unwrap()
    };
    let plain = own(503, "closed", &[("retry-after", "60")]);
    assert!(has_body(&Method::GET, &plain) && !has_body(&Method::HEAD, &plain));
    assert_eq!(plain.headers["content-length"], "6");
    assert_eq!(plain.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(plain.headers["retry-after"], "60");
    let json = own(200, "{}", &[("content-type", "application/json")]);
    assert_eq!(json.headers.get_all("content-type").iter().collect::<Vec<_>>(), ["application/json"]);
    assert!(!own(204, "", &[]).headers.contains_key("content-length"));
}

#[test]
fn shares_of_faults_and_copies() {
    let route = |share| Route {
        fault: Some(Injected { delay_ms: Some(5), abort: Some(503), share }),
        mirror: Some(Mirror { cluster: Some("a".into()), share }),
        ..Route::default()
    };
    let count = |share| {
        let filters = Filters::new(&route(share)).unwrap();
        let mut rng = fastrand::Rng::with_seed(3);
        let faults = (0..10_000).filter(|_| filters.fault(&mut rng) != Fault::default()).count();
        (faults, (0..10_000).filter(|_| filters.mirror(&mut rng).is_some()).count())
    };
    assert_eq!(count(0), (0, 0));
    assert_eq!(count(1_000_000), (10_000, 10_000));
    let (faults, copies) = count(200_000);
    assert!((1_800..2_200).contains(&faults) && (1_800..2_200).contains(&copies), "{faults} {copies}");
}

#[test]
fn what_may_not_be_edited_is_refused() {
    for name in ["connection", "content-length", "transfer-encoding", "host", "te", "upgrade", "a b"] {
        let edits = HeaderEdits { remove: [name.to_owned()].into(), ..HeaderEdits::default() };
        let route = Route { response_headers: edits, ..Route::default() };
        assert!(Filters::new(&route).unwrap_err().contains(name), "{name}");
    }
    let respond = Some(Respond { status: 101, body: String::new(), headers: Default::default() });
    assert!(Filters::new(&Route { respond, ..Route::default() }).is_err());
}

#[test]
fn a_redirect_from_outside_leads_back_to_where_the_client_asked() {
    let table = [
        ("shop.example", "http", "http://shop.example/new"),
        ("shop.example:18080", "http", "http://shop.example:18080/new"),
        ("shop.example", "https", "https://shop.example/new"),
        ("shop.example:8443", "https", "https://shop.example:8443/new"),
        ("shop.example", "gopher", "http://shop.example/new"),
    ];
    let redirect = Redirect {
        scheme: None,
        host: None,
        path: Some(PathEdit::Full("/new".into())),
        port: None,
        status: 302,
    };
    let filters = Filters::new(&Route { redirect: Some(redirect), ..Route::default() }).unwrap();
    for (host, scheme, wanted) in table {
        let mut fields = HeaderMap::new();
        fields.insert("host", host.parse().unwrap());
        fields.insert("x-forwarded-proto", scheme.parse().unwrap());
        let uri = Uri::from_static("/old");
        let own = filters.own_answer(&uri, &fields, 0, Called::from_outside(&uri, &fields)).unwrap();
        assert_eq!(own.headers["location"], wanted);
    }
}
