//! Connections from outside that begin with a PROXY header: who the client is.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;

use super::Refused;
use crate::proxy_protocol::{self, BadHeader, MAX_HEADER, Said};
use crate::worker::Worker;

/// Takes the header off a connection: whom it names, if anybody. What came behind it stays in `rest`. It has as long to
/// come as an HTTP head.
///
/// # Errors
/// There is none, it is bad, or it did not come in time: nothing of the connection may reach anybody.
pub(super) async fn read(
    worker: &Worker,
    tcp: &mut TcpStream,
    rest: &mut BytesMut,
) -> Result<Option<SocketAddr>, Refused> {
    let limit = worker.patience().head;
    tokio::time::timeout(limit, take(tcp, rest)).await.unwrap_or(Err(Refused::HeaderLate(limit)))
}

async fn take(tcp: &mut TcpStream, rest: &mut BytesMut) -> Result<Option<SocketAddr>, Refused> {
    loop {
        tcp.ready(Interest::READABLE).await?;
        // Room only for what has come: not for what a slow sender may send one day.
        rest.reserve(MAX_HEADER);
        if tcp.read_buf(rest).await? == 0 {
            return Err(BadHeader::Missing.into());
        }
        if let Some((said, length)) = proxy_protocol::read(rest)? {
            rest.advance(length);
            return Ok(match said {
                Said::Client(client) => Some(client),
                Said::Nobody => None,
            });
        }
    }
}
