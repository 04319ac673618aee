//! The rules of capture, as a value. `docs/capture.md` shows them as `nft` text; a test compares the two in
//! the kernel.

use std::net::{IpAddr, Ipv4Addr};

use libc::{IPPROTO_TCP as TCP, IPPROTO_UDP as UDP};
use outrigger_wire::port as ports;

use super::expression::{
    Expression::{self, Count, Redirect, Reset, Return, Unreachable},
    Piece, destination, destination_in, from_loopback, leaves, not_redirected, owner, passes_through, port,
    protocol, syn, to_loopback,
};

/// Virtual addresses 127.64.0.0/10: routed to loopback in every namespace, so a call never leaves it unseen.
const VIRTUAL_LOOPBACK: [u8; 2] = [127, 64];
/// Virtual addresses 240.64.0.0/10: unassigned (RFC 1112, class E), for `platform` capture.
const VIRTUAL_RESERVED: [u8; 2] = [240, 64];
/// Docker's resolver.
const ENGINE_RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// Docker's own rules for its resolver stand at -100 (dstnat): ours must see port 53 first.
const BEFORE_ENGINE: i32 = -110;
/// After every address translation.
const FILTER: i32 = 0;
const DOMAIN: u16 = 53;

/// One chain with its rules.
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// `nat` or `filter`.
    pub(super) kind: &'static str,
    /// NF_INET_*: where in a packet's way it stands.
    pub(super) hook: u32,
    pub(super) priority: i32,
    pub(super) rules: Vec<Vec<Expression>>,
}

/// All chains. `resolvers` are the nameservers of the namespace: those on loopback are captured by address;
/// loopback is left alone otherwise, because a DNS server of the application may listen there.
pub(super) fn chains(resolvers: &[IpAddr]) -> Vec<Chain> {
    vec![
        Chain {
            name: "output",
            kind: "nat",
            hook: libc::NF_INET_LOCAL_OUT as u32,
            priority: BEFORE_ENGINE,
            rules: output(resolvers),
        },
        Chain {
            name: "prerouting",
            kind: "nat",
            hook: libc::NF_INET_PRE_ROUTING as u32,
            priority: BEFORE_ENGINE,
            rules: prerouting(),
        },
        Chain {
            name: "guard_input",
            kind: "filter",
            hook: libc::NF_INET_LOCAL_IN as u32,
            priority: FILTER,
            rules: guard_input(),
        },
        Chain {
            name: "guard_output",
            kind: "filter",
            hook: libc::NF_INET_LOCAL_OUT as u32,
            priority: FILTER,
            rules: guard_output(),
        },
    ]
}

/// What the application sends.
fn output(resolvers: &[IpAddr]) -> Vec<Vec<Expression>> {
    let mut local_resolvers = vec![ENGINE_RESOLVER];
    local_resolvers.extend(resolvers.iter().filter(|ip| ip.is_loopback() && **ip != ENGINE_RESOLVER));
    let dns = |protocol: i32| {
        let question = port(protocol, DOMAIN);
        let to_local = local_resolvers.iter().map(|ip| destination(*ip));
        to_local
            .chain([leaves()])
            .map(|to| rule([to, question.clone()], [Count, Redirect(ports::DNS)]))
            .collect::<Vec<_>>()
    };
    let outbound = [Count, Redirect(ports::OUTBOUND)];
    let mut rules = vec![rule([owner(ports::UID, ports::GID)], [Return])];
    rules.extend(dns(UDP));
    rules.push(rule([protocol(UDP)], [Count, Return]));
    // A connection older than the rules must not be bent midway: it would break.
    rules.push(rule([syn(false)], [Return]));
    rules.extend(dns(TCP));
    rules.push(rule([destination_in(VIRTUAL_LOOPBACK), protocol(TCP)], outbound.clone()));
    rules.push(rule([destination_in(VIRTUAL_RESERVED), protocol(TCP)], outbound.clone()));
    rules.push(rule([to_loopback()], [Return]));
    rules.push(rule([protocol(TCP)], outbound));
    rules
}

/// What arrives from outside.
fn prerouting() -> Vec<Vec<Expression>> {
    vec![
        rule([from_loopback()], [Return]),
        rule([passes_through()], [Return]),
        rule([port(TCP, ports::MESH)], [Return]),
        rule([port(TCP, ports::ADMIN)], [Return]),
        rule([syn(true)], [Count, Redirect(ports::INBOUND)]),
    ]
}

/// Fails closed: no connection opens from outside but by a redirect, or to the two ports that are the
/// sidecar's own. Also refuses calls straight to the ports that only redirected connections may reach.
fn guard_input() -> Vec<Vec<Expression>> {
    vec![
        rule([from_loopback()], [Return]),
        rule([port(UDP, ports::DNS)], [Count, Unreachable]),
        rule([syn(false)], [Return]),
        rule([port(TCP, ports::MESH)], [Return]),
        rule([port(TCP, ports::ADMIN)], [Return]),
        rule([not_redirected(), protocol(TCP)], [Count, Reset]),
    ]
}

/// Fails closed: no connection of the application leaves but by a redirect.
fn guard_output() -> Vec<Vec<Expression>> {
    let refuse_udp = [Count, Unreachable];
    vec![
        rule([owner(ports::UID, ports::GID)], [Return]),
        // A virtual address carries TCP. Let through, UDP would reach a socket of the application itself.
        rule([destination_in(VIRTUAL_LOOPBACK), protocol(UDP)], refuse_udp.clone()),
        rule([destination_in(VIRTUAL_RESERVED), protocol(UDP)], refuse_udp),
        rule([to_loopback()], [Return]),
        rule([syn(false)], [Return]),
        rule([not_redirected(), protocol(TCP)], [Count, Reset]),
    ]
}

fn rule<const C: usize, const A: usize>(conditions: [Piece; C], actions: [Expression; A]) -> Vec<Expression> {
    conditions.into_iter().flatten().chain(actions).collect()
}
