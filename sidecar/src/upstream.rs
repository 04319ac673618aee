//! Opening connections: mutual TLS to a peer's sidecar, or plaintext to the application.
