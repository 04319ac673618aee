//! Byte streams through two sidecars.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mesh::{Ca, Echo, Node, callee, caller, exchange, nobody, parse, within};

#[tokio::test]
async fn bytes_cross_two_sidecars_and_half_close_is_kept() {
    let (ca, echo) = (Ca::new(), Echo::start().await);
    let there = Node::start(&ca, &callee(echo.address)).await;
    let here = Node::start(&ca, &caller(&BTreeMap::from([("shop-echo-1", there.at("mesh"))]))).await;
    let text: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let answer = exchange(here.at("out"), &text).await.unwrap();
    assert_eq!(answer.len(), text.len() + 3);
    assert!(answer.starts_with(&text) && answer.ends_with(b"bye"));
    let edges = there.runtime.telemetry().edges();
    assert_eq!((edges.len(), edges[0].peer.as_str(), edges[0].mtls), (1, "web.shop", true));
}
