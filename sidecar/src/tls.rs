//! Mutual TLS 1.3 between sidecars.

/// What is inside a mesh connection, told by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `h2`: the application spoke HTTP/2.
    H2,
    /// `h2-h1`: HTTP/2 frames carrying messages of an HTTP/1.x client.
    H2ForHttp1,
    /// `http/1.1`: one connection for one upgrade request, then bytes.
    Http1,
    /// `outrigger-tcp`: bytes, after one byte of the callee.
    Tcp,
}

impl Alpn {
    /// All that a callee accepts.
    pub const ALL: [Self; 4] = [Self::H2, Self::H2ForHttp1, Self::Http1, Self::Tcp];

    /// The protocol id on the wire (RFC 7301).
    pub fn id(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::H2ForHttp1 => b"h2-h1",
            Self::Http1 => b"http/1.1",
            Self::Tcp => b"outrigger-tcp",
        }
    }
}

/// TLS configurations made of one identity.
#[derive(Debug)]
pub struct Contexts {}
