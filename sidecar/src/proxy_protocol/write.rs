//! Headers that an application gets.

use std::net::{IpAddr, SocketAddr};

use outrigger_wire::SpiffeId;

use super::SIGNATURE;

/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
/// TCP over IPv4 and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Section 2.2.6: what TLS proved of the client.
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_COMMON_NAME: u8 = 0x22;
/// The client spoke TLS, and gave a certificate in this connection and session.
const SSL_CLIENT: u8 = 0x01 | 0x02 | 0x04;

/// A header of version 2 that speaks of no client (LOCAL): for connections that the sidecar opens for itself.
pub const LOCAL: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// A header of version 2: `client` called `called`, and proved to be `caller` where mutual TLS did. The identity stands
/// where the client certificate's common name does (PP2_SUBTYPE_SSL_CN), which is what applications read.
pub fn header(client: SocketAddr, called: SocketAddr, caller: Option<&SpiffeId>) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    let family = match (client.ip().to_canonical(), called.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(called)) => {
            body.extend_from_slice(&client.octets());
            body.extend_from_slice(&called.octets());
            TCP4
        }
        // One family for both.
        (client, called) => {
            for address in [client, called] {
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                body.extend_from_slice(&address.octets());
            }
            TCP6
        }
    };
    body.extend_from_slice(&client.port().to_be_bytes());
    body.extend_from_slice(&called.port().to_be_bytes());
    if let Some(caller) = caller {
        // Verified: 0.
        let mut proved = vec![SSL_CLIENT, 0, 0, 0, 0];
        put(&mut proved, SSL_VERSION, b"TLSv1.3");
        put(&mut proved, SSL_COMMON_NAME, caller.to_string().as_bytes());
        put(&mut body, SSL, &proved);
    }
    let mut header = Vec::with_capacity(16 + body.len());
    header.extend_from_slice(SIGNATURE);
    header.extend_from_slice(&[PROXY, family]);
    header.extend_from_slice(&length(&body));
    header.extend_from_slice(&body);
    header
}

fn put(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    to.push(kind);
    to.extend_from_slice(&length(value));
    to.extend_from_slice(value);
}

/// A SPIFFE id has at most 2,048 bytes (its specification, section 2.3), so all lengths fit.
fn length(value: &[u8]) -> [u8; 2] {
    u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes()
}
