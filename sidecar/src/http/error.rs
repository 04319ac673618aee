//! What can go wrong with a request, and what that means: whose fault it is, whether it may be sent
//! elsewhere, what the caller is told.

use std::io;

use h2::Reason;
use http::StatusCode;

use crate::cluster::Bound;
use crate::rate::{self, Refusal};

/// `outrigger-error` of what is refused because as much as may be is under way.
pub(super) const OVERLOADED: &str = "overloaded";

/// Bytes that are not a message, or one that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// A part breaks the grammar.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A line ends with LF alone.
    #[error("a line ends with LF instead of CR LF")]
    BareLineFeed,
    /// Head or trailers over 64 KiB or 128 fields.
    #[error("more than 64 KiB or 128 fields")]
    HeadTooLarge,
    /// The first line alone fills the largest head.
    #[error("target over 64 KiB")]
    TargetTooLong,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken")]
    Version,
    /// A transfer coding other than `chunked`.
    #[error("only the transfer coding `chunked` is understood")]
    Coding,
    /// A head that did not come whole in time.
    #[error("the head did not come in time")]
    Slow,
    /// RFC 9220 section 3: an extended CONNECT for something else than a WebSocket.
    #[error("the only protocol of an extended CONNECT is websocket")]
    ConnectProtocol,
    /// CONNECT would make an open proxy.
    #[error("CONNECT is refused")]
    Connect,
}

impl BadMessage {
    /// What a client is told that sent it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::BareLineFeed => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Coding | Self::ConnectProtocol => StatusCode::NOT_IMPLEMENTED,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl From<httparse::Error> for BadMessage {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName => Self::Malformed("field name"),
            httparse::Error::HeaderValue => Self::Malformed("field value"),
            httparse::Error::NewLine => Self::Malformed("line ending"),
            httparse::Error::Status => Self::Malformed("status"),
            httparse::Error::Token => Self::Malformed("request line"),
            httparse::Error::TooManyHeaders => Self::HeadTooLarge,
            httparse::Error::Version => Self::Version,
        }
    }
}

/// A connection that broke, seen from the message that was on it.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The other side closed where the message was not at its end.
    #[error("closed in the middle of a message")]
    Closed,
    /// The other side sent bytes that are no message.
    #[error(transparent)]
    Bad(#[from] BadMessage),
    /// The client took no more of the response for too long.
    #[error("the client does not read")]
    Stalled,
    /// It lasted too long.
    #[error("over {}", .0.as_str())]
    Late(Late),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The HTTP/2 stream or its connection ended.
    #[error(transparent)]
    Stream(#[from] h2::Error),
}

/// Which limit of a stream has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// That of the whole.
    Stream,
    /// That of what does not move.
    Idle,
}

impl Late {
    /// As in the mesh file and in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream-timeout",
            Self::Idle => "stream-idle-timeout",
        }
    }
}

impl Broken {
    /// What an HTTP/2 peer on the other hop is told.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Stream(error) if error.is_reset() => error.reason().unwrap_or(Reason::INTERNAL_ERROR),
            Self::Stalled | Self::Late(_) => Reason::CANCEL,
            Self::Closed | Self::Bad(_) | Self::Io(_) | Self::Stream(_) => Reason::INTERNAL_ERROR,
        }
    }
}

/// Why a request got no response of the application.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The client's message cannot be carried.
    #[error("bad request: {0}")]
    Bad(#[from] BadMessage),
    /// The client went away, or broke its request off.
    #[error("the client is gone: {0}")]
    ClientGone(Broken),
    /// The client did not send the rest of its request in time.
    #[error("the rest of the request did not come in time")]
    ClientSlow,
    /// The service has routes, and none takes the request.
    #[error("no route of {0} takes this request")]
    NoRoute(String),
    /// A route names a service that is not there, or nothing with a weight.
    #[error(
        "route {0} leads nowhere: it names a service that this caller shares no network with, or every weight is 0"
    )]
    NoBackend(String),
    /// A route puts a fault in.
    #[error("a fault that a route puts in")]
    Injected(StatusCode),
    /// There is no endpoint, and none came in time.
    #[error("no endpoint of {0} is ready")]
    NoEndpoint(String),
    /// As much is under way to the destination as may be.
    #[error("as many {} to {cluster} are under way as may be", bound.as_str())]
    Overloaded {
        /// The destination.
        cluster: String,
        /// What there is too much of.
        bound: Bound,
    },
    /// The application gets no more of these in this time.
    #[error("over the rate limit {}", .0.limit)]
    RateLimited(Box<Refusal>),
    /// As much is under way to the own application as may be.
    #[error("as many {} to this replica are under way as may be", .0.as_str())]
    Full(rate::Bound),
    /// It takes no more connections, or all that there are take none.
    #[error("as many connections to {0} are open as may be")]
    Crowded(String),
    /// Nothing could be sent: no connection.
    #[error("{why}")]
    Connect {
        /// What the connector said.
        why: String,
    },
    /// Sent, but proven not to have reached the application.
    #[error("never delivered: {0}")]
    NotDelivered(Broken),
    /// This sidecar is stopping and takes no more requests.
    #[error("this sidecar is stopping")]
    Draining,
    /// The time that was left for it has passed before it was sent.
    #[error("no time is left for this request")]
    NoTimeLeft,
    /// No response in time.
    #[error("no response in time")]
    Timeout,
    /// The connection broke after the application may have seen the request.
    #[error("the connection broke before the response: {0}")]
    Upstream(Broken),
    /// The response breaks the protocol.
    #[error("bad response: {0}")]
    BadResponse(BadMessage),
}

impl RequestError {
    /// The request certainly did nothing: it may be sent elsewhere, whatever its method.
    pub fn never_delivered(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::NotDelivered(_) | Self::Draining | Self::NoEndpoint(_) => true,
            Self::Overloaded { .. } | Self::Crowded(_) => true,
            // An answer: told to send it elsewhere, callers would go round all replicas when all are full.
            Self::RateLimited(_) | Self::Full(_) => false,
            Self::Bad(_) | Self::ClientGone(_) | Self::ClientSlow => false,
            Self::NoRoute(_) | Self::NoBackend(_) | Self::Injected(_) | Self::NoTimeLeft => false,
            Self::Timeout | Self::Upstream(_) | Self::BadResponse(_) => false,
        }
    }

    /// What the client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Bad(bad) => bad.status(),
            Self::ClientGone(Broken::Bad(bad)) => bad.status(),
            Self::ClientGone(_) => StatusCode::BAD_REQUEST,
            Self::ClientSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Injected(status) => *status,
            Self::NoRoute(_) => StatusCode::NOT_FOUND,
            Self::NoBackend(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoEndpoint(_) | Self::Connect { .. } | Self::NotDelivered(_) | Self::Draining => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Overloaded { .. } | Self::Full(_) | Self::Crowded(_) => StatusCode::SERVICE_UNAVAILABLE,
            // RFC 6585 section 4.
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Timeout | Self::NoTimeLeft => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(_) | Self::BadResponse(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// One word for the field `outrigger-error` and the metrics.
    pub fn flag(&self) -> &'static str {
        match self {
            Self::Bad(_) => "bad-request",
            Self::ClientGone(_) => "client-gone",
            Self::ClientSlow => "client-slow",
            Self::Injected(_) => "fault",
            Self::NoRoute(_) => "no-route",
            Self::NoBackend(_) => "no-backend",
            Self::NoEndpoint(_) => "no-endpoint",
            Self::Overloaded { .. } | Self::Full(_) | Self::Crowded(_) => OVERLOADED,
            Self::RateLimited(_) => "rate-limited",
            Self::Connect { .. } => "connect-failed",
            Self::NotDelivered(_) => "not-delivered",
            Self::Draining => "draining",
            Self::NoTimeLeft => "no-time-left",
            Self::Timeout => "timeout",
            Self::Upstream(_) => "upstream-reset",
            Self::BadResponse(_) => "bad-response",
        }
    }

    /// The gRPC status that stands for it: 14 is UNAVAILABLE, 4 DEADLINE_EXCEEDED, 12 UNIMPLEMENTED, 13 INTERNAL, 8
    /// RESOURCE_EXHAUSTED ("perhaps a per-user quota": gRPC, doc/statuscodes.md).
    pub fn grpc_status(&self) -> &'static str {
        match self {
            Self::Timeout | Self::NoTimeLeft => "4",
            Self::RateLimited(_) => "8",
            Self::NoRoute(_) => "12",
            Self::NoBackend(_) => "13",
            Self::Bad(_) | Self::ClientGone(_) | Self::ClientSlow | Self::BadResponse(_) => "13",
            Self::NoEndpoint(_) | Self::Connect { .. } | Self::NotDelivered(_) => "14",
            Self::Injected(_) | Self::Draining | Self::Upstream(_) => "14",
            Self::Overloaded { .. } | Self::Full(_) | Self::Crowded(_) => "14",
        }
    }
}
