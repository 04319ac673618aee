//! `cargo xtask demo`, `test` and `bench`.

fn main() {}
