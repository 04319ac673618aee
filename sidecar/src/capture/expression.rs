//! What a rule is made of: the expressions of nf_tables (linux/netfilter/nf_tables.h), as values, in the
//! few forms that capture needs. Each loads into register 1, compares it, or acts.

use std::net::IpAddr;

use super::message::Attributes;

/// One step of a rule. A rule's steps run in turn until one does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Load a fact about the packet.
    Load(Load),
    /// Keep only the bits of this mask.
    Mask(Vec<u8>),
    /// Go on if the register equals these bytes.
    Equal(Vec<u8>),
    /// Go on if it does not.
    Differs(Vec<u8>),
    /// Count packets and bytes.
    Count,
    /// Leave the chain: its policy applies.
    Return,
    /// Send it to this local port instead, and remember where it was meant to go.
    Redirect(u16),
    /// Answer a TCP reset.
    Reset,
    /// Answer "port unreachable" in the packet's own IP version.
    Unreachable,
}

/// Facts about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// `meta`, by key.
    Meta(u32),
    /// `ct status`.
    ConnectionStatus,
    /// `fib daddr type`.
    DestinationType,
    /// Bytes of a header.
    Payload { base: u32, offset: u32, length: u32 },
}

// Keys of `meta`.
const IIF: u32 = 4;
const OIF: u32 = 5;
const SKUID: u32 = 10;
const SKGID: u32 = 11;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// The loopback device is the first of each namespace (LOOPBACK_IFINDEX).
const LOOPBACK: u32 = 1;
/// FIN, SYN, RST and ACK: of these, only SYN is set on the first packet of a connection.
const OPENING_MASK: u8 = 0x17;
const SYN: u8 = 0x02;
/// IPS_DST_NAT: the destination was changed.
const DST_NAT: u32 = 1 << 5;
/// RTN_LOCAL: an address of this namespace.
const LOCAL: u32 = 2;

/// A piece of a rule: a condition or an action.
pub(super) type Piece = Vec<Expression>;

/// `meta skuid UID meta skgid GID`: both, since an application may well use one of them.
pub(super) fn owner(uid: u32, gid: u32) -> Piece {
    use Expression::{Equal, Load as L};
    vec![
        L(Load::Meta(SKUID)),
        Equal(uid.to_ne_bytes().into()),
        L(Load::Meta(SKGID)),
        Equal(gid.to_ne_bytes().into()),
    ]
}

/// `iif "lo"`.
pub(super) fn from_loopback() -> Piece {
    vec![Expression::Load(Load::Meta(IIF)), Expression::Equal(LOOPBACK.to_ne_bytes().into())]
}

/// `oif "lo"`: the destination is an address of this namespace.
pub(super) fn to_loopback() -> Piece {
    vec![Expression::Load(Load::Meta(OIF)), Expression::Equal(LOOPBACK.to_ne_bytes().into())]
}

/// `oif != "lo"`.
pub(super) fn leaves() -> Piece {
    vec![Expression::Load(Load::Meta(OIF)), Expression::Differs(LOOPBACK.to_ne_bytes().into())]
}

/// `fib daddr type != local`: on its way through this namespace.
pub(super) fn passes_through() -> Piece {
    vec![Expression::Load(Load::DestinationType), Expression::Differs(LOCAL.to_ne_bytes().into())]
}

/// `meta l4proto tcp` (6) or `udp` (17).
pub(super) fn protocol(number: i32) -> Piece {
    vec![Expression::Load(Load::Meta(L4PROTO)), Expression::Equal(vec![number as u8])]
}

/// `tcp dport PORT` or `udp dport PORT`.
pub(super) fn port(number: i32, port: u16) -> Piece {
    let mut piece = protocol(number);
    piece.push(Expression::Load(Load::Payload { base: TRANSPORT_HEADER, offset: 2, length: 2 }));
    piece.push(Expression::Equal(port.to_be_bytes().into()));
    piece
}

/// `tcp flags syn / fin,syn,rst,ack` (`opening`), or `!=` it.
pub(super) fn syn(opening: bool) -> Piece {
    let mut piece = protocol(libc::IPPROTO_TCP);
    piece.push(Expression::Load(Load::Payload { base: TRANSPORT_HEADER, offset: 13, length: 1 }));
    piece.push(Expression::Mask(vec![OPENING_MASK]));
    piece.push(if opening { Expression::Equal(vec![SYN]) } else { Expression::Differs(vec![SYN]) });
    piece
}

/// `ip daddr ADDRESS` or `ip6 daddr ADDRESS`.
pub(super) fn destination(address: IpAddr) -> Piece {
    let (family, offset, bytes) = match address {
        IpAddr::V4(v4) => (libc::NFPROTO_IPV4, 16, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::NFPROTO_IPV6, 24, v6.octets().to_vec()),
    };
    let length = bytes.len() as u32;
    vec![
        Expression::Load(Load::Meta(NFPROTO)),
        Expression::Equal(vec![family as u8]),
        Expression::Load(Load::Payload { base: NETWORK_HEADER, offset, length }),
        Expression::Equal(bytes),
    ]
}

/// `ip daddr A.B.0.0/10`. The shape of the program is the one `nft` writes for a prefix that does not end at
/// a whole byte, so that `nft list` shows it as one.
pub(super) fn destination_in([a, b]: [u8; 2]) -> Piece {
    vec![
        Expression::Load(Load::Meta(NFPROTO)),
        Expression::Equal(vec![libc::NFPROTO_IPV4 as u8]),
        Expression::Load(Load::Payload { base: NETWORK_HEADER, offset: 16, length: 4 }),
        Expression::Mask(vec![0xff, 0xc0, 0, 0]),
        Expression::Equal(vec![a, b, 0, 0]),
    ]
}

/// `ct status ! dnat`: not redirected.
pub(super) fn not_redirected() -> Piece {
    vec![
        Expression::Load(Load::ConnectionStatus),
        Expression::Mask(DST_NAT.to_ne_bytes().into()),
        Expression::Equal(vec![0; 4]),
    ]
}

// Attribute numbers, by the enum they come from.
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const REGISTER_VERDICT: u32 = 0;
const REGISTER_1: u32 = 1;
/// NFT_RETURN (-5).
const RETURN: u32 = (-5i32).cast_unsigned();

impl Expression {
    /// Writes the expression as attributes of one list element.
    pub(super) fn encode(&self, list: &mut Attributes<'_>) {
        match self {
            Self::Load(load) => load.encode(list),
            Self::Mask(mask) => named(list, "bitwise", |data| {
                data.number(1, REGISTER_1); // NFTA_BITWISE_SREG
                data.number(2, REGISTER_1); // NFTA_BITWISE_DREG
                data.number(3, mask.len() as u32); // NFTA_BITWISE_LEN
                data.nest(4, |value| value.bytes(DATA_VALUE, mask)); // NFTA_BITWISE_MASK
                data.nest(5, |value| value.bytes(DATA_VALUE, &vec![0; mask.len()])); // NFTA_BITWISE_XOR
            }),
            Self::Equal(bytes) => compare(list, 0, bytes),
            Self::Differs(bytes) => compare(list, 1, bytes),
            Self::Count => named(list, "counter", |_| {}),
            Self::Return => named(list, "immediate", |data| {
                data.number(1, REGISTER_VERDICT); // NFTA_IMMEDIATE_DREG
                data.nest(2, |value| {
                    value.nest(DATA_VERDICT, |verdict| verdict.number(VERDICT_CODE, RETURN))
                });
            }),
            Self::Redirect(port) => {
                named(list, "immediate", |data| {
                    data.number(1, REGISTER_1);
                    data.nest(2, |value| value.bytes(DATA_VALUE, &port.to_be_bytes()));
                });
                named(list, "redir", |data| data.number(1, REGISTER_1)); // NFTA_REDIR_REG_PROTO_MIN
            }
            Self::Reset => reject(list, 1, 0),       // NFT_REJECT_TCP_RST
            Self::Unreachable => reject(list, 2, 1), // NFT_REJECT_ICMPX_UNREACH, port
        }
    }
}

impl Load {
    fn encode(self, list: &mut Attributes<'_>) {
        match self {
            Self::Meta(key) => named(list, "meta", |data| {
                data.number(1, REGISTER_1); // NFTA_META_DREG
                data.number(2, key); // NFTA_META_KEY
            }),
            Self::ConnectionStatus => named(list, "ct", |data| {
                data.number(1, REGISTER_1); // NFTA_CT_DREG
                data.number(2, 2); // NFTA_CT_KEY: NFT_CT_STATUS
            }),
            Self::DestinationType => named(list, "fib", |data| {
                data.number(1, REGISTER_1); // NFTA_FIB_DREG
                data.number(2, 3); // NFTA_FIB_RESULT: NFT_FIB_RESULT_ADDRTYPE
                data.number(3, 1 << 1); // NFTA_FIB_FLAGS: NFTA_FIB_F_DADDR
            }),
            Self::Payload { base, offset, length } => named(list, "payload", |data| {
                data.number(1, REGISTER_1); // NFTA_PAYLOAD_DREG
                data.number(2, base); // NFTA_PAYLOAD_BASE
                data.number(3, offset); // NFTA_PAYLOAD_OFFSET
                data.number(4, length); // NFTA_PAYLOAD_LEN
            }),
        }
    }
}

fn compare(list: &mut Attributes<'_>, operation: u32, bytes: &[u8]) {
    named(list, "cmp", |data| {
        data.number(1, REGISTER_1); // NFTA_CMP_SREG
        data.number(2, operation); // NFTA_CMP_OP
        data.nest(3, |value| value.bytes(DATA_VALUE, bytes)); // NFTA_CMP_DATA
    });
}

fn reject(list: &mut Attributes<'_>, kind: u32, code: u8) {
    named(list, "reject", |data| {
        data.number(1, kind); // NFTA_REJECT_TYPE
        data.byte(2, code); // NFTA_REJECT_ICMP_CODE
    });
}

fn named(list: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    const LIST_ELEMENT: u16 = 1;
    list.nest(LIST_ELEMENT, |expression| {
        expression.text(EXPR_NAME, name);
        expression.nest(EXPR_DATA, fill);
    });
}
