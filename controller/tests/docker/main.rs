//! Against a real Docker engine: `cargo test -p outrigger-controller --test docker -- --ignored`. Everything made here
//! carries a compose project of its own and goes with the test, pass or fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod injection;
mod place;
mod view;
mod wire;
