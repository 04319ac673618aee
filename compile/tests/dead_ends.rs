//! Routes that lead to nobody are told, for `outrigger status`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "golden/input.rs"]
mod input;

use outrigger_compile::dead_ends;

#[test]
fn routes_that_lead_to_nobody_are_told_with_the_way_out() {
    let mesh = "
mesh: |
  services:
    cart:
      routes:
        - { name: canary, backends: [ { version: v1 }, { version: v3 }, { version: v4, weight: 0 }, { service: stock } ] }
        - { backends: [ { service: cart.blog } ], mirror: { service: stock, version: v9 } }
workloads:
  cart-1: { service: cart, version: v1, networks: { front: [10.1.0.3] } }
  cart-2: { service: cart, version: v2, networks: { front: [10.1.0.4] } }
  stock-1: { service: stock, networks: { back: [10.2.0.4] } }
";
    let dead = dead_ends(&input::snapshot(mesh).unwrap());
    let told: Vec<String> = dead.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "route canary of cart.shop leads to version v3 of cart.shop, and no workload has it: its share waits, and is answered \
             with 503. Start one with outrigger.version=v3, or correct mesh.yaml (there are v1, v2)",
            "route 2 of cart.shop leads to cart.blog, and there is no such service: its share is answered with 500. Correct \
             mesh.yaml, or start it",
            "route 2 of cart.shop leads to version v9 of stock.shop, and no workload has it: its share waits, and is answered \
             with 503. Start one with outrigger.version=v9, or correct mesh.yaml",
        ]
    );
}
