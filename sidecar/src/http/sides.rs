//! The two sides of an exchange, whatever they speak.

use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use http::{Method, StatusCode, Version, header};
use tokio::time::Instant;

use super::delivery::{self, Host};
use super::error::{Broken, RequestError};
use super::framing::{self, Length};
use super::h1::Conn;
use super::h2stream::H2Stream;
use super::head::{Request, Response, Wire};
use super::origin::Origin;
use super::pool::{Idle, until};
use super::pump::{Half, Pump};
use super::streams::InUse;
use super::trace;

/// The side that asked.
pub(super) enum Down<'a> {
    /// HTTP/1.
    H1 {
        /// Its connection.
        conn: &'a mut Conn,
        /// How the client spoke.
        wire: Wire,
        /// The connection may live on.
        keep_alive: bool,
    },
    /// HTTP/2.
    H2 {
        /// Where the head goes.
        respond: SendResponse<Bytes>,
        /// The bodies.
        stream: H2Stream,
    },
}

impl Down<'_> {
    /// Passes an informational response on.
    pub fn inform(&mut self, response: Response) -> Result<(), Broken> {
        match self {
            // RFC 9110 section 15.2: HTTP/1.0 has none.
            Self::H1 { wire, .. } if wire.version == Version::HTTP_10 => {}
            Self::H1 { conn, .. } => conn.inform(&response),
            Self::H2 { respond, .. } => respond.send_informational(h2_response(response))?,
        }
        Ok(())
    }

    /// Sends the head of the final response.
    pub fn respond(&mut self, mut response: Response, method: &Method) -> Result<(), Broken> {
        match self {
            Self::H1 { conn, wire, keep_alive } => {
                if response.length == Length::Empty && response.upgrade.is_none() {
                    framing::say_empty_response(&mut response.headers, response.status, method);
                }
                *keep_alive = conn.start_response(&response, *wire, *keep_alive);
            }
            Self::H2 { respond, stream } => {
                // RFC 8441 section 5: success says what a switch of HTTP/1.1 says.
                let switched = response.upgrade.is_some();
                if switched {
                    response.status = StatusCode::OK;
                    response.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
                }
                let ended = response.length == Length::Empty && !switched;
                let send = respond.send_response(h2_response(response), ended)?;
                stream.send = (!ended).then_some(send);
            }
        }
        Ok(())
    }

    /// Its bodies.
    pub fn half(&mut self) -> Half<'_> {
        match self {
            Self::H1 { conn, .. } => Half::H1(conn),
            Self::H2 { stream, .. } => Half::H2(stream),
        }
    }

    /// Resolves when nobody waits for the response any more.
    pub fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        match self {
            Self::H1 { conn, .. } => conn.poll_failed(cx),
            Self::H2 { stream, .. } if stream.send.is_some() => stream.poll_failed(cx),
            Self::H2 { respond, .. } => Poll::Ready(match ready!(respond.poll_reset(cx)) {
                Ok(reason) => Broken::Stream(reason.into()),
                Err(error) => error.into(),
            }),
        }
    }

    /// Breaks off, so that the client sees that the response is not whole.
    pub fn abort(&mut self, reason: Reason) {
        match self {
            Self::H1 { conn, keep_alive, .. } => {
                *keep_alive = false;
                conn.break_off();
            }
            Self::H2 { stream, .. } if stream.send.is_some() => stream.reset(reason),
            Self::H2 { respond, .. } => respond.send_reset(reason),
        }
    }
}

fn h2_response(response: Response) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = response.status;
    *head.headers_mut() = response.headers;
    head
}

/// A request head as the `h2` crate wants it: without an authority it is one that came from HTTP/1.
pub(super) fn h2_request(request: &Request) -> http::Request<()> {
    let mut head = http::Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = request.uri.clone();
    *head.headers_mut() = request.headers.clone();
    let from_h1 = request.uri.authority().is_none();
    *head.version_mut() = if from_h1 { Version::HTTP_11 } else { Version::HTTP_2 };
    head
}

/// Where a connection waits for its next request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Park {
    /// Among those to that address.
    Address(SocketAddr),
    /// The same, of an application on another host that has no sidecar.
    Outside(SocketAddr),
    /// With the client's connection: it began with its PROXY header.
    Announced(SocketAddr),
}

/// The side that answers, with a request on it.
pub(super) enum Up {
    /// HTTP/1.
    H1 {
        /// Its connection.
        conn: Box<Conn>,
        /// Where it may be parked.
        park: Option<Park>,
        /// Another request was on it before.
        reused: bool,
        /// Bytes written before this request.
        start: u64,
        /// How the application spoke.
        wire: Option<Wire>,
    },
    /// HTTP/2.
    H2 {
        /// The head to come.
        response: ResponseFuture,
        /// The bodies.
        stream: H2Stream,
        /// Its place on the connection.
        #[allow(dead_code, reason = "only its drop matters")]
        in_use: InUse,
    },
}

impl Up {
    /// Starts a request on an HTTP/1 connection; `trace` is the one that it is to begin.
    pub fn start(
        origin: &Origin,
        mut conn: Box<Conn>,
        request: &Request,
        park: Option<Park>,
        reused: bool,
        trace: Option<trace::New>,
    ) -> Self {
        let start = conn.written();
        conn.start_request(request, origin.told_in_text(), trace.as_ref());
        Self::H1 { conn, park, reused, start, wire: None }
    }

    /// The next response: an informational one, or the final one.
    pub fn poll_response(&mut self, cx: &mut Context<'_>, method: &Method) -> Poll<Result<Response, Broken>> {
        match self {
            Self::H1 { conn, wire, .. } => {
                let (response, said) = ready!(conn.poll_response(cx, method))?;
                *wire = Some(said);
                Poll::Ready(Ok(response))
            }
            Self::H2 { response, stream, .. } => {
                match response.poll_informational(cx) {
                    Poll::Ready(Some(informational)) => {
                        return Poll::Ready(Ok(from_h2(informational?.into_parts().0, true)));
                    }
                    Poll::Ready(None) => {}
                    // Nothing has come at all, and this task is woken when something does.
                    Poll::Pending => return Poll::Pending,
                }
                let (head, recv) = ready!(std::pin::Pin::new(response).poll(cx))?.into_parts();
                let response = from_h2(head, recv.is_end_stream());
                stream.recv = Some(recv);
                Poll::Ready(Ok(response))
            }
        }
    }

    /// Its bodies.
    pub fn half(&mut self) -> Half<'_> {
        match self {
            Self::H1 { conn, .. } => Half::H1(conn),
            Self::H2 { stream, .. } => Half::H2(stream),
        }
    }

    /// What an error before the response means.
    pub fn failed(&self, upload: &Pump, error: Broken) -> RequestError {
        let undelivered = match (self, &error) {
            (_, Broken::Bad(bad)) => return RequestError::BadResponse(*bad),
            // An application that answered, if only in part, has read the request.
            (Self::H1 { conn, wire, start, park, .. }, _) => {
                let host = match park {
                    Some(Park::Address(address) | Park::Announced(address)) => Host::of(*address, conn),
                    // Without a place to wait it is TLS to a peer's sidecar.
                    Some(Park::Outside(_)) | None => Host::Another,
                };
                wire.is_none()
                    && conn.is_idle()
                    && delivery::never_delivered(conn, *start, upload.is_sent(), &error, host)
            }
            (Self::H2 { .. }, Broken::Stream(error)) => {
                // GOAWAY reaches a stream only if its id is above the last that the peer took on.
                let refused = error.reason() == Some(Reason::REFUSED_STREAM) && error.is_reset();
                error.is_remote() && (refused || error.is_go_away())
            }
            (Self::H2 { .. }, Broken::Closed | Broken::Io(_) | Broken::Stalled | Broken::Late(_)) => false,
        };
        if undelivered { RequestError::NotDelivered(error) } else { RequestError::Upstream(error) }
    }

    /// The connection had carried requests before this one, so its end may have nothing to do with this one.
    pub fn was_reused(&self) -> bool {
        matches!(self, Self::H1 { reused: true, .. } | Self::H2 { .. })
    }

    /// It is spoken to in HTTP/1.
    pub fn is_h1(&self) -> bool {
        matches!(self, Self::H1 { .. })
    }

    /// The exchange ended well, just now: keeps the connection if another request may follow.
    pub fn release(self, origin: &Origin, upload: &Pump, ended: Instant) {
        if let Self::H1 { conn, park: Some(park), wire: Some(wire), .. } = self
            && wire.keep_alive
            && upload.is_sent()
            && conn.is_flushed()
            && conn.is_read()
            && conn.is_idle()
        {
            let worker = &origin.worker;
            let until = until(worker, ended, wire.keep_alive_seconds);
            match (park, &origin.announced) {
                (Park::Address(address) | Park::Outside(address), _) => {
                    Idle::park(worker, address, conn, until)
                }
                (Park::Announced(_), Some(announced)) => announced.park(conn, until, ended),
                (Park::Announced(_), None) => {}
            }
        }
    }
}

fn from_h2(head: http::response::Parts, ended: bool) -> Response {
    let length = framing::of_stream(&head.headers, ended);
    // RFC 9113 section 8.6: HTTP/2 has no 101.
    let status =
        if head.status == StatusCode::SWITCHING_PROTOCOLS { StatusCode::BAD_GATEWAY } else { head.status };
    Response { status, headers: head.headers, length, upgrade: None }
}
