//! Connections that the application opens.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use outrigger_wire::{Protocol, Target};
use tokio::net::TcpStream;

use super::{Refused, Serving, original_destination, refuse, speech};
use crate::downstream::{Destination, Direction, Downstream};
use crate::rate::Admission;
use crate::runtime::{Found, Generation};
use crate::stream::Stream;
use crate::worker::Worker;

pub(super) async fn serve(
    worker: &Worker,
    generation: &Arc<Generation>,
    tcp: TcpStream,
    remote: SocketAddr,
    target: &Target,
) -> Result<Serving, Refused> {
    let (destination, protocol, port) = match find(generation, &tcp, target) {
        Ok(found) => found,
        Err(refused) => return Err(refuse(&tcp, refused)),
    };
    let downstream = Downstream {
        direction: Direction::Outbound,
        remote,
        introduced: false,
        identity: None,
        port,
        destination,
        announce: None,
    };
    let io = Stream::Plain(tcp);
    speech::serve(worker, io, BytesMut::new(), downstream, protocol, Admission::Free).await
}

fn find(
    generation: &Generation,
    tcp: &TcpStream,
    target: &Target,
) -> Result<(Destination, Protocol, u16), Refused> {
    match target {
        Target::OriginalDestination => {
            let address = original_destination(tcp)?;
            match generation.outbound(address) {
                Found::To(destination, protocol) => Ok((destination, protocol, address.port())),
                Found::NoPort => Err(Refused::NoPort(address)),
            }
        }
        Target::Service { name, port } => match generation.service(name, *port) {
            Found::To(destination, protocol) => Ok((destination, protocol, *port)),
            Found::NoPort => Err(Refused::NoService(name.clone(), *port)),
        },
        Target::Port(port) => Err(Refused::NoService("the own application".into(), *port)),
    }
}
