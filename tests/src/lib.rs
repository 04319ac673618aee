//! Rings that need more than one crate: in-process meshes over real sockets, and Docker.
