//! Two versions on one control stream: what the older one says is understood, and what it is told it understands.
//! Tags keep their number and their type for ever; what is new gets a new tag, and is optional.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "skew/v0_1_0.rs"]
mod v0_1_0;

use std::fmt::Debug;

use outrigger_wire::{Resource, control};
use prost::Message;

/// The same bytes, read by the other version.
fn across<A: Message, B: Message + Default>(said: &A) -> B {
    B::decode(said.encode_to_vec().as_slice()).unwrap()
}

/// The present version understands what 0.1.0 says, and says it back unchanged.
fn up(said: v0_1_0::up::Kind) -> control::Up {
    let said = v0_1_0::Up { kind: Some(said) };
    let heard: control::Up = across(&said);
    assert_eq!(across::<_, v0_1_0::Up>(&heard), said);
    heard
}

fn down(said: control::down::Kind) -> v0_1_0::down::Kind {
    across::<_, v0_1_0::Down>(&control::Down { kind: Some(said) }).kind.unwrap()
}

fn edge() -> v0_1_0::Edge {
    let (peer, protocol) = ("cart.shop".into(), "http".into());
    v0_1_0::Edge { inbound: true, peer, port: 8080, mtls: true, protocol, requests: 9, errors: 2 }
}

#[test]
fn an_older_sidecar_is_understood() {
    use control::up::Kind;
    let hello = v0_1_0::Hello {
        sidecar_version: "0.1.0".into(),
        held: [("proxy".to_owned(), "0123456789abcdef".to_owned())].into(),
        roots: "r".into(),
    };
    let Some(Kind::Hello(heard)) = up(v0_1_0::up::Kind::Hello(hello)).kind else { unreachable!() };
    assert_eq!((heard.sidecar_version.as_str(), heard.held["proxy"].as_str()), ("0.1.0", "0123456789abcdef"));

    let report = v0_1_0::Report {
        ready: true,
        listening: vec![80, 8080],
        edges: vec![edge()],
        certificate_expires: 2,
        unmeshed: 1,
        certificate_issued: 1,
    };
    let Some(Kind::Report(heard)) = up(v0_1_0::up::Kind::Report(report)).kind else { unreachable!() };
    assert!(heard.ready && heard.listening == [80, 8080] && heard.edges.len() == 1);
    assert_eq!((heard.edges[0].port, heard.edges[0].requests, heard.edges[0].errors), (8080, 9, 2));
    assert_eq!((heard.certificate_issued, heard.certificate_expires, heard.unmeshed), (1, 2, 1));

    up(v0_1_0::up::Kind::Ack(v0_1_0::Ack { nonce: 7, version: "v".into() }));
    up(v0_1_0::up::Kind::Nack(v0_1_0::Nack {
        nonce: 7,
        version: "v".into(),
        reasons: vec!["a".into(), "b".into()],
    }));
    up(v0_1_0::up::Kind::Sign(v0_1_0::SigningRequest { csr: vec![1, 2, 3] }));
}

#[test]
fn an_older_sidecar_understands_what_it_is_told() {
    use control::down::Kind;
    use v0_1_0::down::Kind as Old;
    let resource = Resource { name: "proxy".into(), hash: "h".into(), body: b"{}".to_vec() };
    let removals = vec!["service/a".to_owned()];
    let delta =
        control::Delta { nonce: 3, version: "v".into(), upserts: vec![resource], removals: removals.clone() };
    let upsert = v0_1_0::Resource { name: "proxy".into(), hash: "h".into(), body: b"{}".to_vec() };
    let understood = v0_1_0::Delta { nonce: 3, version: "v".into(), upserts: vec![upsert], removals };
    same(&down(Kind::Delta(delta)), &Old::Delta(understood));

    let (chain, roots) = (vec![vec![1], vec![2]], vec![vec![3]]);
    let certificate =
        control::Certificate { chain: chain.clone(), roots: roots.clone(), refused: String::new() };
    same(
        &down(Kind::Certificate(certificate)),
        &Old::Certificate(v0_1_0::Certificate { chain, roots, refused: String::new() }),
    );
    same(
        &down(Kind::Drain(control::Drain { deadline_ms: 9 })),
        &Old::Drain(v0_1_0::Drain { deadline_ms: 9 }),
    );
    same(
        &down(Kind::Renew(control::Renew { reason: "r".into() })),
        &Old::Renew(v0_1_0::Renew { reason: "r".into() }),
    );
}

fn same<T: Debug + PartialEq>(found: &T, expected: &T) {
    assert_eq!(found, expected);
}

/// What a stream of 0.1.0 began with, byte for byte.
#[test]
fn recorded_bytes_mean_what_they_meant() {
    let hello = b"\x0a\x13\x0a\x050.1.0\x12\x07\x0a\x02pr\x12\x01h\x1a\x01r";
    let heard = control::Up::decode(&hello[..]).unwrap();
    let Some(control::up::Kind::Hello(heard)) = heard.kind else { unreachable!() };
    assert_eq!(
        (heard.sidecar_version.as_str(), heard.held["pr"].as_str(), heard.roots.as_str()),
        ("0.1.0", "h", "r")
    );
    let drain = control::Down { kind: Some(control::down::Kind::Drain(control::Drain { deadline_ms: 300 })) };
    assert_eq!(drain.encode_to_vec(), b"\x1a\x03\x08\xac\x02");
    assert_eq!(control::STREAM_PATH, "/outrigger.control.v1.Control/Stream");
}
