use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, Request};
use outrigger_wire::{Backend, PathMatch, Route, RouteMatch, TextMatch};

use super::{Drawn, Routes};

fn path(path: PathMatch) -> RouteMatch {
    RouteMatch { path: Some(path), ..RouteMatch::default() }
}

fn exact(text: &str) -> RouteMatch {
    path(PathMatch::Exact(text.into()))
}

fn prefix(text: &str) -> RouteMatch {
    path(PathMatch::Prefix(text.into()))
}

fn regex(pattern: &str) -> RouteMatch {
    path(PathMatch::Regex(format!("^(?:{pattern})$")))
}

fn header(name: &str, value: &str) -> (String, TextMatch) {
    (name.into(), TextMatch::Exact(value.into()))
}

/// Routes named `0`, `1`, …, each with one match.
fn routes(matches: impl IntoIterator<Item = RouteMatch>) -> Routes {
    let route = |(n, said): (usize, RouteMatch)| Route {
        name: n.to_string(),
        matches: vec![said],
        ..Route::default()
    };
    let all: Vec<Route> = matches.into_iter().enumerate().map(route).collect();
    Routes::new(&all, "web.shop").unwrap()
}

fn found<'a>(routes: &'a Routes, request: &Request<()>, grpc: bool) -> Option<&'a str> {
    let found = routes.find(request.method(), request.uri(), request.headers(), grpc)?;
    Some(found.route.name.as_str())
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

fn takes(said: RouteMatch, uri: &str) -> bool {
    found(&routes([said]), &get(uri), false).is_some()
}

#[test]
fn a_prefix_goes_by_whole_segments_as_sent() {
    for (said, uri, want) in [
        ("/items", "/items", true),
        ("/items", "/items/", true),
        ("/items", "/items/1?x=/2", true),
        ("/items", "/items?x", true),
        ("/items", "/itemsets", false),
        ("/items", "/Items", false),
        ("/items", "//items", false),
        ("/items", "/x/../items", false),
        ("/items", "/%69tems", false),
        ("/items/", "/items", true),
        ("/items/", "/items/1", true),
        ("/items/", "/itemsets", false),
        ("/a%2Fb", "/a%2Fb/c", true),
        ("/a%2Fb", "/a%2fb", false),
        ("/", "/", true),
        ("/", "/items", true),
        ("/", "*", true),
    ] {
        assert_eq!(takes(prefix(said), uri), want, "{said} takes {uri}");
    }
}

#[test]
fn exact_paths_patterns_and_calls() {
    assert!(takes(exact("/items"), "/items?x=1"));
    assert!(!takes(exact("/items"), "/items/"));
    assert!(takes(regex("/items/[0-9]+|/x"), "/items/12"));
    assert!(takes(regex("/items/[0-9]+|/x"), "/x"));
    for uri in ["/items/12/", "/items/", "/a/items/12", "/xy"] {
        assert!(!takes(regex("/items/[0-9]+|/x"), uri), "{uri}");
    }
    let call = || path(PathMatch::Call("Add".into()));
    assert!(takes(call(), "/shop.Cart/Add"));
    assert!(!takes(call(), "/shop.Cart/Added") && !takes(call(), "/Add") && !takes(call(), "/a/b/Add"));
}

#[test]
fn fields_and_parameters() {
    let said = |headers: Vec<(String, TextMatch)>, query: Vec<(String, TextMatch)>| RouteMatch {
        headers: headers.into_iter().collect(),
        query: query.into_iter().collect(),
        ..RouteMatch::default()
    };
    let with = |fields: &[(&'static str, &str)], said: &RouteMatch| {
        let mut request = get("/");
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        found(&routes([said.clone()]), &request, false).is_some()
    };
    let canary = said(vec![header("x-canary", "1")], vec![]);
    assert!(with(&[("x-canary", "1")], &canary));
    assert!(!with(&[("x-canary", "1"), ("x-canary", "2")], &canary));
    assert!(!with(&[("x-canary", "11")], &canary) && !with(&[], &canary));
    let list = said(vec![header("x-canary", "1, 2")], vec![]);
    assert!(with(&[("x-canary", "1"), ("x-canary", "2")], &list) && with(&[("x-canary", "1, 2")], &list));
    let pattern =
        said(vec![("cookie".into(), TextMatch::Regex("^(?:(.*; )?group=b(;.*)?)$".into()))], vec![]);
    assert!(with(&[("cookie", "a=1; group=b")], &pattern) && !with(&[("cookie", "group=bb")], &pattern));
    let both = said(vec![header("a", "1"), header("b", "")], vec![]);
    assert!(with(&[("a", "1"), ("b", "")], &both) && !with(&[("a", "1")], &both));
    let host = said(vec![header("host", "cart")], vec![]);
    assert!(with(&[("host", "cart")], &host));
    assert!(found(&routes([host]), &get("http://cart/"), false).is_some(), "HTTP/2's :authority");

    let query = said(vec![], vec![header("a", "1"), header("b", "")]);
    for (uri, want) in [
        ("/?a=1&b", true),
        ("/?b=&a=1", true),
        ("/?a=1", false),
        ("/?a=2&a=1&b", false),
        ("/?a=1&a=2&b", true),
        ("/?aa=1&b", false),
        ("/?a=%31&b", false),
        ("/", false),
    ] {
        assert_eq!(takes(query.clone(), uri), want, "{uri}");
    }
}

/// Gateway API: HTTPRoute matches, in their order of precedence.
#[test]
fn the_most_specific_match_goes_first_wherever_it_stands() {
    let method = |said: RouteMatch| RouteMatch { method: Some("GET".into()), ..said };
    let fields = |said: RouteMatch, n: usize| RouteMatch {
        headers: (0..n).map(|n| header(&format!("x-{n}"), "1")).collect(),
        ..said
    };
    let query = |said: RouteMatch, n: usize| RouteMatch {
        query: (0..n).map(|n| header(&format!("q{n}"), "1")).collect(),
        ..said
    };
    let from = |said: RouteMatch| RouteMatch { from: BTreeSet::from(["web.shop".into()]), ..said };
    let grpc = |said: RouteMatch| RouteMatch { grpc: true, ..said };
    let ordered = [
        exact("/a.B/c"),
        fields(regex("/a.B/[a-z]+"), 1),
        regex("/a.B/[a-z]+"),
        prefix("/a.B/c"),
        method(prefix("/a.B")),
        query(fields(prefix("/a.B"), 2), 0),
        query(fields(prefix("/a.B"), 1), 2),
        query(fields(prefix("/a.B"), 1), 1),
        query(prefix("/a.B"), 2),
        from(prefix("/a.B")),
        prefix("/a.B"),
        grpc(path(PathMatch::Call("c".into()))),
        grpc(RouteMatch::default()),
        fields(RouteMatch::default(), 2),
        RouteMatch::default(),
    ];
    let mut request = get("/a.B/c?q0=1&q1=1");
    let fields: HeaderMap = [("x-0", "1"), ("x-1", "1")]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .into_iter()
        .collect();
    *request.headers_mut() = fields;
    // Whatever the order in the file: take the winner out, and the next one wins.
    for seed in 0..20 {
        let mut left: Vec<usize> = (0..ordered.len()).collect();
        let mut rng = fastrand::Rng::with_seed(seed);
        for want in 0..ordered.len() {
            rng.shuffle(&mut left);
            let routes = routes(left.iter().map(|n| ordered[*n].clone()));
            let found: usize = found(&routes, &request, true).unwrap().parse().unwrap();
            assert_eq!(left[found], want, "seed {seed}");
            left.retain(|n| *n != want);
        }
    }
    let equal = routes([prefix("/a.B"), prefix("/a.B/")]);
    assert_eq!(found(&equal, &request, false), Some("0"), "the first in the file");
}

#[test]
fn a_match_for_other_callers_takes_nothing() {
    let from = |callers: &[&str]| RouteMatch {
        from: callers.iter().map(|caller| (*caller).to_owned()).collect(),
        ..exact("/")
    };
    assert!(takes(from(&["web.shop", "log.shop"]), "/"));
    assert!(!takes(from(&["log.shop", "web.blog"]), "/"));
}

#[test]
fn backends_are_drawn_by_weight() {
    let backend = |cluster: Option<&str>, weight| Backend { cluster: cluster.map(str::to_owned), weight };
    let drawn = |backends: Vec<Backend>| {
        let routes = Routes::new(&[Route { backends, ..Route::default() }], "web.shop").unwrap();
        let request = get("/");
        let found = routes.find(request.method(), request.uri(), request.headers(), false).unwrap();
        let route = found.route.clone();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..10_000 {
            let to = match route.draw(&mut rng, None) {
                Drawn::Own => "own".to_owned(),
                Drawn::Cluster(cluster) => cluster.to_string(),
                Drawn::Nowhere => "nowhere".to_owned(),
            };
            *counts.entry(to).or_default() += 1;
        }
        counts
    };
    assert_eq!(drawn(vec![]), BTreeMap::from([("own".to_owned(), 10_000)]));
    assert_eq!(drawn(vec![backend(Some("a"), 0)]), BTreeMap::from([("nowhere".to_owned(), 10_000)]));
    let counts =
        drawn(vec![backend(Some("a"), 90), backend(Some("b"), 9), backend(Some("c"), 0), backend(None, 1)]);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["a", "b", "nowhere"]);
    assert!((8_900..9_100).contains(&counts["a"]) && (50..150).contains(&counts["nowhere"]), "{counts:?}");
}

#[test]
fn what_cannot_be_matched_is_told() {
    let bad = |said: RouteMatch| {
        let route = Route { name: "canary".into(), matches: vec![said], ..Route::default() };
        Routes::new(&[route], "web.shop").unwrap_err()
    };
    let error = bad(path(PathMatch::Regex("(".into())));
    assert!(error.contains("route canary: pattern `(`"), "{error}");
    assert!(bad(RouteMatch { method: Some("a b".into()), ..RouteMatch::default() }).contains("`a b`"));
}

#[test]
fn a_key_stays_at_its_backend_and_most_stay_where_the_weights_change() {
    let routes = |first: u32| {
        let backend = |cluster: &str, weight| Backend { cluster: Some(cluster.into()), weight };
        let backends = vec![backend("a", first), backend("b", 100 - first)];
        Routes::new(&[Route { name: "split".into(), backends, ..Route::default() }], "web.shop").unwrap()
    };
    let drawn = |first: u32| {
        let (routes, mut rng) = (routes(first), fastrand::Rng::with_seed(1));
        let request = get("/");
        let found = routes.find(request.method(), request.uri(), request.headers(), false).unwrap();
        let mut draw = |n: u32| {
            let key = crate::cluster::key::of(format!("user-{n}").as_bytes());
            let to = found.route.draw(&mut rng, Some(key));
            assert_eq!(to, found.route.draw(&mut rng, Some(key)));
            to == Drawn::Cluster("a".into())
        };
        (0..10_000).map(&mut draw).collect::<Vec<bool>>()
    };
    let (ninety, eighty) = (drawn(90), drawn(80));
    let count = |drawn: &[bool]| drawn.iter().filter(|first| **first).count();
    assert!((8_850..9_150).contains(&count(&ninety)) && (7_800..8_200).contains(&count(&eighty)));
    let moved = ninety.iter().zip(&eighty).filter(|(before, after)| before != after).count();
    assert_eq!(moved, count(&ninety) - count(&eighty), "nobody moves the other way");
}
