//! Finds out what a plaintext connection speaks, then serves it.

use std::future::ready;
use std::time::Duration;

use bytes::BytesMut;
use outrigger_wire::Protocol;
use tokio::io::{AsyncReadExt, Interest};
use tokio::time::Instant;

use super::{Refused, Serving};
use crate::detect::{self, Rule, Spoken};
use crate::downstream::{Direction, Downstream, HttpKind};
use crate::rate::Admission;
use crate::stream::Stream;
use crate::worker::Worker;
use crate::{http, tcp};

/// A client that has said nothing recognisable by then waits for the server to speak first, or does not
/// speak HTTP: bytes. (A declared protocol saves the wait.)
const LISTEN: Duration = Duration::from_secs(2);
/// First read; becomes the head of the HTTP read buffer.
const FIRST_READ: usize = 4096;

/// Finds out, and gives what serves it. `prefix` are bytes that were read from it already.
pub(super) async fn serve(
    worker: &Worker,
    mut io: Stream,
    mut prefix: BytesMut,
    downstream: Downstream,
    protocol: Protocol,
    admission: Admission,
) -> Result<Serving, Refused> {
    // The own application may open a connection long before it uses it.
    let first_byte = match downstream.direction {
        Direction::Outbound => IDLE,
        Direction::Inbound if admission.is_full() => LISTEN,
        Direction::Inbound => worker.patience().idle,
    };
    let spoken = match detect::rule(protocol, downstream.port) {
        Rule::Known(spoken) => spoken,
        Rule::Look => look(&mut io, &mut prefix, LISTEN).await?.unwrap_or(Spoken::Bytes),
        Rule::LookForHttp => match look_for_http(worker, &mut io, &mut prefix, first_byte).await? {
            Some(Spoken::Http2) => Spoken::Http2,
            Some(Spoken::Http1 | Spoken::Bytes) => Spoken::Http1,
            None if prefix.is_empty() => {
                wait_elsewhere(worker, io, &downstream);
                return Ok(Box::pin(ready(())));
            }
            None => Spoken::Http1,
        },
    };
    let worker = worker.clone();
    Ok(match spoken {
        Spoken::Http1 => http::serve(io, HttpKind::Http1, prefix, downstream, worker, admission),
        Spoken::Http2 => http::serve(io, HttpKind::Http2, prefix, downstream, worker, admission),
        Spoken::Bytes => tcp::serve(io, prefix, downstream, worker),
    })
}

/// For the first byte of the own application on a port declared to speak HTTP.
const IDLE: Duration = Duration::from_secs(3600);

/// A drain ends the wait for the first byte.
async fn look_for_http(
    worker: &Worker,
    io: &mut Stream,
    prefix: &mut BytesMut,
    limit: Duration,
) -> Result<Option<Spoken>, Refused> {
    let mut draining = worker.draining();
    tokio::select! {
        spoken = look(io, prefix, limit) => return spoken,
        () = draining.begun() => {}
    }
    if prefix.is_empty() { Ok(None) } else { look(io, prefix, LISTEN).await }
}

/// A client that has said nothing yet may say it to the successor, if there is one.
fn wait_elsewhere(worker: &Worker, io: Stream, downstream: &Downstream) {
    if let (Stream::Plain(tcp), true) = (io, worker.draining().has_begun()) {
        worker.succession().give(tcp, downstream.named(), worker.draining().guard());
    }
}

/// Reads until it is clear what is spoken; `None` when the client ends or says nothing (more) in time.
async fn look(io: &mut Stream, prefix: &mut BytesMut, limit: Duration) -> Result<Option<Spoken>, Refused> {
    let until = Instant::now() + limit;
    loop {
        if !prefix.is_empty()
            && let Some(spoken) = detect::look(prefix)
        {
            return Ok(Some(spoken));
        }
        let read = async {
            io.tcp().ready(Interest::READABLE).await?;
            prefix.reserve(FIRST_READ);
            io.read_buf(prefix).await
        };
        match tokio::time::timeout_at(until, read).await {
            Ok(Ok(0)) | Err(_) => return Ok(None),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}
