//! Sidecars in one process, over real sockets on loopback.

mod mesh;
mod runtime;
mod tcp;
mod tls;
