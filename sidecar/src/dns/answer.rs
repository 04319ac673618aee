//! One query: answered from the mesh's names, refused, or to be forwarded. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::names::Names;

/// Seconds a mesh name may be kept. Short: a virtual address is never given to another service, but a
/// replica's address is.
const TTL: u32 = 5;
/// What we say we take over UDP, and the most that we send (the size that avoids fragments, DNS flag day 2020).
const PAYLOAD: u16 = 1232;
/// Bytes of a header (RFC 1035 section 4.1.1).
pub(super) const HEADER: usize = 12;

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This is the whole answer.
    Answer(Vec<u8>),
    /// It is none of the mesh's: ask another server.
    Forward,
    /// Not a query, or too short to answer.
    Ignore,
}

/// How the query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Answers have a size limit.
    Udp,
    /// They have none.
    Tcp,
}

/// Judges the bytes of one query. Any bytes are fine.
pub(crate) fn judge(query: &[u8], names: &Names, transport: Transport) -> Verdict {
    let Some(header) = query.first_chunk::<HEADER>() else { return Verdict::Ignore };
    let [_, _, flags, _, count_high, count_low, ..] = header;
    if flags & 0x80 != 0 {
        return Verdict::Ignore; // A response: answering could start a loop.
    }
    if flags & 0x78 != 0 {
        return Verdict::Answer(refusal(query, ResponseCode::NotImp));
    }
    let Some(question) = question(query).filter(|_| (*count_high, *count_low) == (0, 1)) else {
        return Verdict::Answer(refusal(query, ResponseCode::FormErr));
    };
    if question.query_class != DNSClass::IN {
        return Verdict::Forward;
    }
    let Some(records) = records(&question, names) else { return Verdict::Forward };
    let answer = Message::from_vec(query).ok().and_then(|query| answer(&query, question, records, transport));
    Verdict::Answer(answer.unwrap_or_else(|| refusal(query, ResponseCode::FormErr)))
}

/// The records of a mesh name; none when the name is not the mesh's, empty when it has nothing of that type.
fn records(question: &Query, names: &Names) -> Option<Vec<RData>> {
    let kind = question.query_type;
    if let Some(name) = names.reverse(&question.name) {
        let asked = matches!(kind, RecordType::PTR | RecordType::ANY);
        return Some(if asked { vec![RData::PTR(PTR(name))] } else { Vec::new() });
    }
    let addresses = names.addresses(&question.name)?;
    let wanted = addresses.iter().filter_map(|ip| match (ip, kind) {
        (IpAddr::V4(ip), RecordType::A | RecordType::ANY) => Some(RData::A(A(*ip))),
        (IpAddr::V6(ip), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(*ip))),
        _ => None,
    });
    Some(wanted.collect())
}

/// "No data" is no error and no SOA: resolvers in applications then keep nothing. It is authoritative and
/// says that recursion is available; otherwise glibc and Go take an empty answer for a lame referral.
fn answer(query: &Message, question: Query, records: Vec<RData>, transport: Transport) -> Option<Vec<u8>> {
    let mut message = Message::response(query.metadata.id, OpCode::Query);
    message.metadata.authoritative = true;
    message.metadata.recursion_available = true;
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    let name: Name = question.name.clone();
    message.add_query(question);
    message.add_answers(records.into_iter().map(|data| Record::from_rdata(name.clone(), TTL, data)));
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
    }
    let bytes = message.to_vec().ok()?;
    let most = usize::from(query.max_payload().clamp(512, PAYLOAD));
    let fits = transport == Transport::Tcp || bytes.len() <= most;
    if fits { Some(bytes) } else { message.truncate().to_vec().ok() }
}

/// The query as an error: its header and, where it can be read, its question.
pub(super) fn refusal(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let end = question_end(query);
    let mut bytes = query.get(..end.unwrap_or(HEADER)).unwrap_or_default().to_vec();
    if let Some([_, _, flags, code_byte, _, questions, rest @ ..]) = bytes.first_chunk_mut::<HEADER>() {
        *flags |= 0x80; // A response; opcode and "recursion desired" stay.
        *flags &= !0x06; // Neither authoritative nor truncated.
        *code_byte = 0x80 | code.low(); // Recursion available.
        *questions = u8::from(end.is_some());
        *rest = [0; 6];
    }
    bytes
}

/// True when `reply` answers `query`: a response of the same id and the same question (an error may leave the
/// question out).
pub(super) fn answers(reply: &[u8], query: &[u8]) -> bool {
    let (Some(theirs), Some(ours)) = (reply.first_chunk::<HEADER>(), query.first_chunk::<HEADER>()) else {
        return false;
    };
    let [id_high, id_low, flags, code, questions_high, questions_low, ..] = theirs;
    let ours_id = [ours.first(), ours.get(1)];
    if ours_id != [Some(id_high), Some(id_low)] || flags & 0x80 == 0 {
        return false;
    }
    if [*questions_high, *questions_low] == [0, 0] {
        return code & 0x0f != 0;
    }
    let asked = question_end(query).and_then(|end| query.get(HEADER..end));
    let repeated = question_end(reply).and_then(|end| reply.get(HEADER..end));
    matches!((asked, repeated), (Some(asked), Some(repeated)) if asked.eq_ignore_ascii_case(repeated))
}

/// The low four bits of the response code of a message of at least a header.
pub(super) fn code(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |byte| byte & 0x0f)
}

fn question(query: &[u8]) -> Option<Query> {
    question_end(query)?;
    let mut decoder = BinDecoder::new(query);
    decoder.read_slice(HEADER).ok()?;
    Query::read(&mut decoder).ok()
}

/// Where the first question ends. A name in it is never compressed: nothing stands before it.
fn question_end(message: &[u8]) -> Option<usize> {
    /// Bytes of a name on the wire at most (RFC 1035 section 2.3.4).
    const LONGEST_NAME: usize = 255;
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1 + length;
        if length > 63 || at > HEADER + LONGEST_NAME {
            return None;
        }
        if length == 0 {
            break;
        }
    }
    // Type and class.
    (at + 4 <= message.len()).then_some(at + 4)
}

#[cfg(test)]
pub(super) mod tests;
