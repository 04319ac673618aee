//! Asks other servers: the query's bytes unchanged but for the id.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::answer::{answers, code};

/// A query has this long in all; resolvers in applications give up after the same time.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// A silent server gets company after this time; its answer still counts.
const STAGGER: Duration = Duration::from_millis(1500);
/// Each server is asked twice: the first datagram may be lost.
const ROUNDS: usize = 2;
/// Largest reply taken over UDP: what the client says it takes, at least this.
const LEAST_BUFFER: usize = 4096;

/// The first good reply of the servers, asked in order; a server's refusal (SERVFAIL, REFUSED) only when none
/// is better. `payload` is what the client takes over UDP, bytes.
pub(super) async fn udp(query: &[u8], servers: &[SocketAddr], payload: u16) -> Option<Vec<u8>> {
    let mut order = servers.iter().cycle().take(servers.len() * ROUNDS);
    let mut asked = FuturesUnordered::new();
    let mut refusal = None;
    let race = async {
        loop {
            let next = order.next();
            let more = next.is_some();
            asked.extend(next.map(|server| exchange(query, *server, payload)));
            if asked.is_empty() {
                return None;
            }
            tokio::select! {
                Some(reply) = asked.next() => match reply {
                    Ok(reply) if is_refusal(&reply) => refusal = Some(reply),
                    Ok(reply) => return Some(reply),
                    Err(error) => tracing::debug!(%error, "a DNS server did not answer"),
                },
                () = sleep(STAGGER), if more => {}
            }
        }
    };
    let reply = timeout(LIMIT, race).await.unwrap_or(None);
    reply.or(refusal).map(|reply| with_id_of(reply, query))
}

/// The first reply of the servers over TCP, asked one after the other.
pub(super) async fn tcp(query: &[u8], servers: &[SocketAddr]) -> Option<Vec<u8>> {
    let in_turn = async {
        for server in servers {
            match exchange_tcp(query, *server).await {
                Ok(reply) => return Some(with_id_of(reply, query)),
                Err(error) => tracing::debug!(%error, %server, "a DNS server did not answer over TCP"),
            }
        }
        None
    };
    timeout(LIMIT, in_turn).await.unwrap_or(None)
}

/// One message with its length before it (RFC 1035 section 4.2.2); none at the end of the stream.
pub(super) async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// The message in one write: some servers misread a length that comes alone.
pub(super) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(message);
    stream.write_all(&framed).await
}

/// A socket for this query alone: its port and the id are both unguessable, and being connected it takes
/// datagrams of that server only. Wrong replies are left out until the right one comes.
async fn exchange(query: &[u8], server: SocketAddr, payload: u16) -> io::Result<Vec<u8>> {
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(server).await?;
    let query = with_new_id(query);
    socket.send(&query).await?;
    let mut buffer = vec![0; LEAST_BUFFER.max(payload.into())];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let reply = buffer.get(..length).unwrap_or_default();
        if answers(reply, &query) {
            return Ok(reply.to_vec());
        }
    }
}

async fn exchange_tcp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = timeout(STAGGER, TcpStream::connect(server)).await??;
    let query = with_new_id(query);
    write_message(&mut stream, &query).await?;
    let reply = read_message(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if answers(&reply, &query) { Ok(reply) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn is_refusal(reply: &[u8]) -> bool {
    [ResponseCode::ServFail, ResponseCode::Refused].map(|code| code.low()).contains(&code(reply))
}

fn with_new_id(query: &[u8]) -> Vec<u8> {
    with_id_of(query.to_vec(), &fastrand::u16(..).to_be_bytes())
}

fn with_id_of(mut message: Vec<u8>, of: &[u8]) -> Vec<u8> {
    message.iter_mut().zip(of.iter().take(2)).for_each(|(byte, id)| *byte = *id);
    message
}
