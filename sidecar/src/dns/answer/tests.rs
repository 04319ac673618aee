use outrigger_wire::ProxyConfig;

use super::*;

pub(in crate::dns) fn names() -> Names {
    let config: ProxyConfig = serde_json::from_value(serde_json::json!({
        "proxy": { "identity": "spiffe://shop.test/shop/web", "workload": "shop-web-1", "listeners": {} },
        "services": {
            "cart.shop": {
                "names": ["cart", "cart.shop"],
                "virtual_addresses": ["127.64.0.7"],
                "ports": {},
                "replicas": { "shop-cart-1": "172.18.0.4", "Shop_Cart_2": "172.18.0.5" }
            },
            "six.shop": { "names": ["six"], "virtual_addresses": ["127.64.0.8", "fd00::8"], "ports": {} },
            "none.shop": { "names": ["none"], "ports": {} },
            "more.shop": {
                "names": ["more"],
                "virtual_addresses": (0..90).map(|n| format!("127.64.2.{n}")).collect::<Vec<_>>(),
                "ports": {}
            },
            "many.shop": {
                "names": ["many"],
                "virtual_addresses": (0..60).map(|n| format!("127.64.1.{n}")).collect::<Vec<_>>(),
                "ports": {}
            }
        }
    }))
    .unwrap();
    Names::of(&config)
}

pub(in crate::dns) fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask(name: &str, kind: RecordType) -> Option<Message> {
    asked(&query(name, kind), Transport::Udp)
}

fn asked(query: &Message, transport: Transport) -> Option<Message> {
    match judge(&query.to_vec().unwrap(), &names(), transport) {
        Verdict::Answer(answer) => Some(Message::from_vec(&answer).unwrap()),
        Verdict::Forward => None,
        Verdict::Ignore => panic!("a query is never ignored"),
    }
}

fn shown(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn mesh_names_are_answered_in_any_case() {
    for name in ["cart.", "CART.", "cArt.Shop."] {
        let answer = ask(name, RecordType::A).unwrap();
        assert_eq!(shown(&answer), ["127.64.0.7"], "{name}");
        assert_eq!(answer.answers[0].ttl, 5);
        assert_eq!(answer.queries[0].name.to_ascii(), name, "the question comes back as it was asked");
        assert!(answer.metadata.recursion_desired && answer.metadata.recursion_available);
    }
    assert_eq!(shown(&ask("shop-cart-1.", RecordType::A).unwrap()), ["172.18.0.4"]);
    assert_eq!(shown(&ask("shop_cart_2.", RecordType::A).unwrap()), ["172.18.0.5"]);
    assert_eq!(shown(&ask("six.", RecordType::AAAA).unwrap()), ["fd00::8"]);
    assert_eq!(shown(&ask("six.", RecordType::A).unwrap()), ["127.64.0.8"]);
}

#[test]
fn other_types_have_no_data_but_the_name_exists() {
    for kind in [RecordType::AAAA, RecordType::TXT, RecordType::HTTPS, RecordType::MX, RecordType::PTR] {
        let answer = ask("cart.", kind).unwrap();
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{kind}");
        assert!(answer.answers.is_empty() && answer.authorities.is_empty(), "{kind}");
        // Without this, glibc and Go take it for a lame referral and ask elsewhere.
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    }
}

#[test]
fn all_other_names_are_forwarded() {
    for name in
        ["cart.example.com.", "a.cart.", "none.", "carts.", ".", "example.com.", "1.0.64.127.in-addr.arpa."]
    {
        assert_eq!(ask(name, RecordType::A), None, "{name}");
    }
    let mut chaos = query("cart.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(asked(&chaos, Transport::Udp), None);
}

#[test]
fn a_virtual_address_has_its_name() {
    let answer = ask("7.0.64.127.IN-ADDR.arpa.", RecordType::PTR).unwrap();
    assert_eq!(shown(&answer), ["cart."]);
    let six = Name::from("fd00::8".parse::<IpAddr>().unwrap()).to_ascii();
    assert_eq!(shown(&ask(&six, RecordType::PTR).unwrap()), ["six."]);
    assert_eq!(ask("4.0.18.172.in-addr.arpa.", RecordType::PTR), None, "a replica's address is the engine's");
}

#[test]
fn edns_is_answered_and_long_answers_are_cut_over_udp_only() {
    let plain = query("many.", RecordType::A);
    let cut = asked(&plain, Transport::Udp).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.edns.is_none());
    assert_eq!(asked(&plain, Transport::Tcp).unwrap().answers.len(), 60);
    let mut with_edns = plain.clone();
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    with_edns.set_edns(edns);
    let whole = asked(&with_edns, Transport::Udp).unwrap();
    assert_eq!(whole.answers.len(), 60);
    assert_eq!(whole.edns.unwrap().max_payload(), PAYLOAD);
}

/// Found by fuzzing: what the client says it takes was all that bounded an answer.
#[test]
fn an_answer_over_udp_is_no_longer_than_what_avoids_fragments_whatever_the_client_takes() {
    let mut query = query("more.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(u16::MAX);
    query.set_edns(edns);
    assert!(asked(&query, Transport::Udp).unwrap().metadata.truncation);
    assert_eq!(asked(&query, Transport::Tcp).unwrap().answers.len(), 90);
}

#[test]
fn what_is_no_plain_query_is_refused_or_ignored() {
    let good = query("cart.", RecordType::A).to_vec().unwrap();
    assert_eq!(judge(&good[..11], &names(), Transport::Udp), Verdict::Ignore);
    let mut response = good.clone();
    response[2] |= 0x80;
    assert_eq!(judge(&response, &names(), Transport::Udp), Verdict::Ignore);
    let refused = |query: &[u8]| match judge(query, &names(), Transport::Udp) {
        Verdict::Answer(answer) => Message::from_vec(&answer).unwrap().metadata.response_code,
        other => panic!("{other:?}"),
    };
    let mut update = good.clone();
    update[2] |= 5 << 3;
    assert_eq!(refused(&update), ResponseCode::NotImp);
    assert_eq!(refused(&good[..15]), ResponseCode::FormErr);
    let mut two_questions = good.clone();
    two_questions[5] = 2;
    assert_eq!(refused(&two_questions), ResponseCode::FormErr);
    // A name that points at itself, one that points into the header, one longer than 255 bytes.
    for name in [&[0xc0, 12][..], &[0xc0, 0], &[63; 64 * 5]] {
        let query = [&good[..12], name, &[0, 0, 1, 0, 1]].concat();
        assert_eq!(refused(&query), ResponseCode::FormErr);
    }
}

#[test]
fn any_bytes_are_survived() {
    let mut with_edns = query("cart.shop.", RecordType::A);
    with_edns.set_edns(Edns::new());
    let good = with_edns.to_vec().unwrap();
    let names = names();
    for _ in 0..50_000 {
        let mut odd = good.clone();
        for _ in 0..fastrand::usize(1..6) {
            let at = fastrand::usize(2..odd.len());
            odd[at] = fastrand::u8(..);
        }
        odd.truncate(fastrand::usize(..=odd.len()));
        let verdict = judge(&odd, &names, Transport::Udp);
        if let Verdict::Answer(answer) = verdict {
            assert_eq!(answer[..2], odd[..2]);
            assert!(answer[2] & 0x80 != 0);
        }
        let _either = answers(&odd, &good) || answers(&good, &odd);
    }
}

#[test]
fn only_the_right_reply_is_taken() {
    let query = query("example.com.", RecordType::A).to_vec().unwrap();
    let mut reply = query.clone();
    reply[2] |= 0x80;
    assert!(answers(&reply, &query));
    reply[13] = b'E';
    assert!(answers(&reply, &query), "case may differ");
    assert!(!answers(&query, &query), "a query is no reply");
    let mut other_id = reply.clone();
    other_id[0] ^= 1;
    assert!(!answers(&other_id, &query));
    let mut other_name = reply.clone();
    other_name[14] = b'y';
    assert!(!answers(&other_name, &query));
    assert!(!answers(&reply[..20], &query));
    let refused = refusal(&query, ResponseCode::Refused);
    assert!(answers(&refused, &query) && code(&refused) == 5);
    let mut bare = refused[..12].to_vec();
    bare[5] = 0;
    assert!(answers(&bare, &query), "an error may leave the question out");
}
