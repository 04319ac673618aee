//! The control protocol: one bidirectional gRPC stream per sidecar, `outrigger.control.v1.Control/Stream`.
//!
//! The sidecar says [`Hello`] with the hashes it holds, then acks or nacks every [`Delta`], asks for
//! certificates and reports. The controller knows who calls from the socket (peer credentials), never
//! from a message.

use std::collections::BTreeMap;

use crate::Resource;

pub mod pin;
pub mod proof;
pub mod rpc;

/// Sidecar to controller.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Up {
    /// One of these.
    #[prost(oneof = "up::Kind", tags = "1, 2, 3, 4, 5")]
    pub kind: Option<up::Kind>,
}

/// Kinds of [`Up`].
pub mod up {
    /// One message of a sidecar.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// The first message, once.
        #[prost(message, tag = "1")]
        Hello(super::Hello),
        /// A delta was applied.
        #[prost(message, tag = "2")]
        Ack(super::Ack),
        /// A delta was refused whole; what ran before still runs.
        #[prost(message, tag = "3")]
        Nack(super::Nack),
        /// Please sign.
        #[prost(message, tag = "4")]
        Sign(super::SigningRequest),
        /// What the sidecar sees.
        #[prost(message, tag = "5")]
        Report(super::Report),
    }
}

/// Controller to sidecar.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Down {
    /// One of these.
    #[prost(oneof = "down::Kind", tags = "1, 2, 3, 4")]
    pub kind: Option<down::Kind>,
}

/// Kinds of [`Down`].
pub mod down {
    /// One message of the controller.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// A change of configuration.
        #[prost(message, tag = "1")]
        Delta(super::Delta),
        /// The answer to a signing request.
        #[prost(message, tag = "2")]
        Certificate(super::Certificate),
        /// Stop accepting, finish what runs, exit within the deadline.
        #[prost(message, tag = "3")]
        Drain(super::Drain),
        /// Ask for a certificate now: the one held comes from an authority that is no more.
        #[prost(message, tag = "4")]
        Renew(super::Renew),
    }
}

/// Who connects (version) and what it holds already.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Version of the sidecar binary.
    #[prost(string, tag = "1")]
    pub sidecar_version: String,
    /// Hash by resource name.
    #[prost(btree_map = "string, string", tag = "2")]
    pub held: BTreeMap<String, String>,
    /// Hash of the roots it trusts ([`roots_hash`]); empty if it has none.
    #[prost(string, tag = "3")]
    pub roots: String,
}

/// A delta was applied.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ack {
    /// Nonce of the delta.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
    /// Version now running.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// A delta was refused.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Nack {
    /// Nonce of the delta.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
    /// Version still running; empty if none.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Why, for a person.
    #[prost(string, repeated, tag = "3")]
    pub reasons: Vec<String>,
}

/// A request for a certificate; the key stays in the sidecar.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SigningRequest {
    /// PKCS #10, DER. Its names are ignored: identity comes from attestation.
    #[prost(bytes = "vec", tag = "1")]
    pub csr: Vec<u8>,
}

/// A signed chain and what to trust.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Certificate {
    /// Leaf first, DER.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub chain: Vec<Vec<u8>>,
    /// Roots, DER.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub roots: Vec<Vec<u8>>,
    /// Why nothing was signed, for a person; then chain and roots are empty.
    #[prost(string, tag = "3")]
    pub refused: String,
}

/// A change of configuration: applied whole or not at all.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Delta {
    /// To be named in the answer.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
    /// Version of the whole after the change ([`crate::Held::version`]).
    #[prost(string, tag = "2")]
    pub version: String,
    /// New or changed.
    #[prost(message, repeated, tag = "3")]
    pub upserts: Vec<Resource>,
    /// Gone.
    #[prost(string, repeated, tag = "4")]
    pub removals: Vec<String>,
}

impl Delta {
    /// Bytes that it takes in a message; over [`rpc::MAX_MESSAGE`] it cannot be sent.
    pub fn length(&self) -> usize {
        // The frame around it: a tag and a length.
        prost::Message::encoded_len(self) + 8
    }
}

/// Stop well.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Drain {
    /// Milliseconds until what still runs is cut.
    #[prost(uint64, tag = "1")]
    pub deadline_ms: u64,
}

/// Ask for a certificate now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Renew {
    /// Why, for a person.
    #[prost(string, tag = "1")]
    pub reason: String,
}

/// What a sidecar sees; sent whole, on change and every 5 s at most.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// Certified, configured, listening.
    #[prost(bool, tag = "1")]
    pub ready: bool,
    /// Ports where the application listens.
    #[prost(uint32, repeated, tag = "2")]
    pub listening: Vec<u32>,
    /// Traffic by edge since the sidecar started.
    #[prost(message, repeated, tag = "3")]
    pub edges: Vec<Edge>,
    /// Unix seconds at which the certificate ends; 0 if none.
    #[prost(uint64, tag = "4")]
    pub certificate_expires: u64,
    /// Application connections older than the capture, still open.
    #[prost(uint32, tag = "5")]
    pub unmeshed: u32,
    /// Unix seconds from which the certificate is good; 0 if none.
    #[prost(uint64, tag = "6")]
    pub certificate_issued: u64,
    /// Ports where the application listens on every address, or did when it was last seen there.
    #[prost(uint32, repeated, tag = "7")]
    pub wildcard: Vec<u32>,
    /// Of `listening`, ports where it listens on loopback only.
    #[prost(uint32, repeated, tag = "8")]
    pub loopback: Vec<u32>,
    /// Who called in plaintext from outside the mesh since the sidecar started: at most 64, the latest, those who
    /// called ports that are no edge before all others.
    #[prost(message, repeated, tag = "9")]
    pub outsiders: Vec<Outsider>,
    /// It has looked for long enough to know where the application listens: 10 s, its predecessor's time included.
    #[prost(bool, tag = "10")]
    pub settled: bool,
    /// What its health check says; none: there is none in the configuration that runs, or nothing was found yet where
    /// the application served before (a check that is new, a sidecar that takes another's place).
    #[prost(message, optional, tag = "11")]
    pub check: Option<Checked>,
    /// Endpoints that this sidecar ejects now; at most 64.
    #[prost(message, repeated, tag = "12")]
    pub ejections: Vec<Ejection>,
    /// Its workload has been told to stop: nothing new is to be sent there.
    #[prost(bool, tag = "13")]
    pub stopping: bool,
    /// Why the names of services do not stand in the hosts file where they are to stand; empty: they do, or are not to.
    #[prost(string, tag = "14")]
    pub hosts: String,
}

/// What a health check says of the application.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Checked {
    /// What follows from the tries so far.
    #[prost(enumeration = "Verdict", tag = "1")]
    pub verdict: i32,
    /// Why the last try failed, for a person (`GET /healthz answered 503`); empty: none has.
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// What follows from the tries of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Verdict {
    /// Since the application started, not so many have passed as must.
    Pending = 0,
    /// It can serve.
    Passing = 1,
    /// It cannot.
    Failing = 2,
}

/// An endpoint that its caller's sidecar sends nothing to for a while.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Ejection {
    /// The called service (`cart.shop`).
    #[prost(string, tag = "1")]
    pub service: String,
    /// The called port.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// The replica's name (`shop-cart-2`).
    #[prost(string, tag = "3")]
    pub endpoint: String,
    /// Unix milliseconds of its beginning.
    #[prost(uint64, tag = "4")]
    pub since_ms: u64,
    /// Unix milliseconds of its end.
    #[prost(uint64, tag = "5")]
    pub until_ms: u64,
    /// So many failures in a row were the reason; 0: its success rate was.
    #[prost(uint32, tag = "6")]
    pub errors: u32,
    /// Percent of its requests that succeeded, where that is the reason.
    #[prost(uint32, tag = "7")]
    pub percent: u32,
    /// Percent that succeeded on the average of the others.
    #[prost(uint32, tag = "8")]
    pub others: u32,
    /// It is called all the same: too few others are left.
    #[prost(bool, tag = "9")]
    pub overruled: bool,
}

/// An address outside the mesh that called one port in plaintext.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Outsider {
    /// Its IP address.
    #[prost(string, tag = "1")]
    pub address: String,
    /// The called port.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// Connections, served and refused.
    #[prost(uint64, tag = "3")]
    pub connections: u64,
    /// Of these, refused by strict.
    #[prost(uint64, tag = "4")]
    pub refused: u64,
    /// Unix seconds of the last one.
    #[prost(uint64, tag = "5")]
    pub last_seen: u64,
}

/// Traffic from one peer to another, as one sidecar saw it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Edge {
    /// True: this workload was called; false: it called.
    #[prost(bool, tag = "1")]
    pub inbound: bool,
    /// The other side: `<service>.<namespace>`; `unknown` for plaintext from outside, `edge` where it came to an
    /// edge port; or `passthrough` for destinations that are not the mesh's.
    #[prost(string, tag = "2")]
    pub peer: String,
    /// The called port.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// Mutual TLS carried it.
    #[prost(bool, tag = "4")]
    pub mtls: bool,
    /// `http`, `grpc` or `tcp`.
    #[prost(string, tag = "5")]
    pub protocol: String,
    /// Requests (HTTP) or connections (TCP).
    #[prost(uint64, tag = "6")]
    pub requests: u64,
    /// Of these, answered 5xx or failed.
    #[prost(uint64, tag = "7")]
    pub errors: u64,
}

/// Name of the service in gRPC paths.
pub const SERVICE: &str = "outrigger.control.v1.Control";
/// Path of the only method.
pub const STREAM_PATH: &str = "/outrigger.control.v1.Control/Stream";
/// Default place of the control socket, in sidecar and controller alike.
pub const SOCKET: &str = "/run/outrigger/control.sock";
/// The controller's own name in its trust domain, `spiffe://<trust-domain>/controller`: one segment, where those of
/// workloads have two.
pub const CONTROLLER: &str = "controller";
/// Default port of the controller for sidecars on other hosts: TLS.
pub const PORT: u16 = 15010;

/// Names a set of roots (DER) in [`Hello`], whatever their order.
pub fn roots_hash<'a>(roots: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hashes: Vec<String> = roots.into_iter().map(crate::resource::hash).collect();
    hashes.sort();
    if hashes.is_empty() { String::new() } else { crate::resource::hash(hashes.concat().as_bytes()) }
}
