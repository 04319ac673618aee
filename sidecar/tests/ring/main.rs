//! Sidecars in one process, over real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod connections;
mod curl;
mod draining;
mod edge_routes;
mod ejection;
mod events;
mod grpc_routes;
mod hand_over;
mod health;
mod hostile;
mod http_delivery;
mod http_mesh;
mod http_one;
mod http_two;
mod lasting;
mod leaving;
mod mesh;
mod names;
mod outside;
mod policy;
mod proxy_protocol;
mod rate;
mod routes;
mod runtime;
mod streams;
mod strict;
mod tcp;
mod tls;
mod trace;
mod websocket;
