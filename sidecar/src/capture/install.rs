//! Puts the rules into the kernel: one batch, all or nothing.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::message::Messages;
use super::rules::{Chain, chains};
use crate::netlink::Netlink;

/// The table's name; it is ours alone, and no other is touched.
const TABLE: &str = "outrigger";
/// The kernel answers at once; it waits only for its own lock.
const ANSWER: Duration = Duration::from_secs(5);

/// Why the rules are not set.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No right to change the namespace's rules.
    #[error(
        "no right to set rules in this network namespace: start the capture step with `cap_add: [NET_ADMIN]`"
    )]
    NotPermitted,
    /// The kernel has no nf_tables.
    #[error(
        "this kernel has no nf_tables: transparent capture needs Linux 5.2 with CONFIG_NF_TABLES_INET and CONFIG_NFT_NAT"
    )]
    NoNfTables,
    /// The kernel lacks one piece of it.
    #[error(
        "this kernel refuses {what} ({source}): transparent capture needs Linux 5.2 with CONFIG_NFT_REDIR, CONFIG_NFT_FIB_INET, CONFIG_NFT_REJECT_INET and CONFIG_NFT_CT"
    )]
    Refused {
        /// Which message of the batch.
        what: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The socket failed.
    #[error("netlink: {0}")]
    Netlink(#[from] io::Error),
}

/// Replaces the table `inet outrigger` of this network namespace. Nothing else is touched.
///
/// # Errors
/// See [`InstallError`]; the rules are then as they were before.
pub(super) fn install(resolvers: &[IpAddr]) -> Result<(), InstallError> {
    let batch = Batch::of(&chains(resolvers));
    let netlink = match Netlink::open(libc::NETLINK_NETFILTER, ANSWER) {
        Ok(netlink) => netlink,
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
            return Err(InstallError::NoNfTables);
        }
        Err(error) => return Err(error.into()),
    };
    netlink.send(batch.messages.bytes())?;
    // The two messages that hold the batch together are answered only when they fail.
    let mut awaited = batch.messages.len() - 2;
    while awaited > 0 {
        for answer in answers(&netlink.receive()?) {
            if answer.error != 0 {
                return Err(batch.refused(&answer));
            }
            awaited = awaited.saturating_sub(1);
        }
    }
    Ok(())
}

/// The messages and what each is, for errors.
struct Batch {
    messages: Messages,
    named: Vec<String>,
}

// nfnetlink: subsystem in the high byte, operation in the low one.
const NFTABLES: u16 = 10 << 8;
const NEW_TABLE: u16 = NFTABLES;
const DELETE_TABLE: u16 = NFTABLES | 2;
const NEW_CHAIN: u16 = NFTABLES | 3;
const NEW_RULE: u16 = NFTABLES | 6;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const FOR_NFTABLES: u16 = 10;
const INET: u8 = libc::NFPROTO_INET as u8;
// NLM_F_CREATE and NLM_F_APPEND.
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NF_ACCEPT: u32 = 1;

impl Batch {
    fn of(chains: &[Chain]) -> Self {
        let mut batch = Self { messages: Messages::default(), named: Vec::new() };
        batch.name("the batch").push(BATCH_BEGIN, 0, 0, FOR_NFTABLES, |_| {});
        // A table can only be deleted if it is there, so it is made first: a second run replaces it.
        batch.table("a table", NEW_TABLE, CREATE);
        batch.table("to replace the table", DELETE_TABLE, 0);
        batch.table("the new table", NEW_TABLE, CREATE);
        for chain in chains {
            batch.chain(chain);
            for (number, rule) in chain.rules.iter().enumerate() {
                batch.name(format!("rule {} of chain {}", number + 1, chain.name)).push(
                    NEW_RULE,
                    CREATE | APPEND,
                    INET,
                    0,
                    |message| {
                        message.text(1, TABLE); // NFTA_RULE_TABLE
                        message.text(2, chain.name); // NFTA_RULE_CHAIN
                        // NFTA_RULE_EXPRESSIONS
                        message.nest(4, |list| rule.iter().for_each(|expression| expression.encode(list)));
                    },
                );
            }
        }
        batch.name("the batch").push(BATCH_END, 0, 0, FOR_NFTABLES, |_| {});
        batch
    }

    fn table(&mut self, name: &str, kind: u16, flags: u16) {
        self.name(name).push(kind, flags, INET, 0, |message| message.text(1, TABLE)); // NFTA_TABLE_NAME
    }

    fn chain(&mut self, chain: &Chain) {
        self.name(format!("chain {}", chain.name)).push(NEW_CHAIN, CREATE, INET, 0, |message| {
            message.text(1, TABLE); // NFTA_CHAIN_TABLE
            message.text(3, chain.name); // NFTA_CHAIN_NAME
            // NFTA_CHAIN_HOOK: NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY
            message.nest(4, |hook| {
                hook.number(1, chain.hook);
                hook.number(2, chain.priority.cast_unsigned());
            });
            message.number(5, NF_ACCEPT); // NFTA_CHAIN_POLICY
            message.text(7, chain.kind); // NFTA_CHAIN_TYPE
        });
    }

    fn name(&mut self, name: impl Into<String>) -> &mut Messages {
        self.named.push(name.into());
        &mut self.messages
    }

    fn refused(&self, answer: &Answer) -> InstallError {
        let source = io::Error::from_raw_os_error(answer.error);
        match answer.error {
            libc::EPERM | libc::EACCES => InstallError::NotPermitted,
            // The whole subsystem is missing: the batch itself is refused.
            libc::EOPNOTSUPP | libc::EINVAL if answer.sequence == 0 => InstallError::NoNfTables,
            _ => {
                let what = self.named.get(answer.sequence as usize);
                InstallError::Refused { what: what.map_or("the batch", String::as_str).into(), source }
            }
        }
    }
}

/// The kernel's word on one message.
struct Answer {
    /// The message's sequence number.
    sequence: u32,
    /// 0 or an errno.
    error: i32,
}

/// The acknowledgements and errors in one datagram; other messages are left out.
fn answers(datagram: &[u8]) -> Vec<Answer> {
    const NLMSG_ERROR: u16 = 2;
    let mut answers = Vec::new();
    let mut rest = datagram;
    while let Some((length, message)) = header(rest) {
        if message.kind == NLMSG_ERROR
            && let Some(code) = rest.get(16..20).and_then(|code| code.try_into().ok())
        {
            let error = i32::from_ne_bytes(code).saturating_neg();
            answers.push(Answer { sequence: message.sequence, error });
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    answers
}

struct Header {
    kind: u16,
    sequence: u32,
}

/// A netlink header and the length of its message, at least the header's own 16 bytes.
fn header(bytes: &[u8]) -> Option<(usize, Header)> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    (16..=bytes.len()).contains(&length).then_some((length, Header { kind, sequence }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_any_bytes_never_panic() {
        let error = [36, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 9, 9, 9, 9, 255, 255, 255, 255];
        let mut datagram = error.to_vec();
        datagram.resize(36, 0);
        let read = answers(&datagram);
        assert_eq!((read.len(), read[0].sequence, read[0].error), (1, 5, libc::EPERM));
        for _ in 0..20_000 {
            let mut odd = datagram.clone();
            for _ in 0..3 {
                let at = fastrand::usize(..odd.len());
                odd[at] = fastrand::u8(..);
            }
            odd.truncate(fastrand::usize(..=odd.len()));
            let _any = answers(&odd);
        }
    }

    #[test]
    fn errors_name_the_way_out() {
        let batch = Batch::of(&chains(&[]));
        let said = |sequence, error| batch.refused(&Answer { sequence, error }).to_string();
        assert!(said(0, libc::EPERM).contains("NET_ADMIN"));
        assert!(said(0, libc::EOPNOTSUPP).contains("no nf_tables"));
        assert!(said(4, libc::ENOENT).contains("refuses chain output"));
        assert!(said(5, libc::ENOENT).contains("refuses rule 1 of chain output"));
    }
}
