use super::*;

const DATE_TEXT: &str = "20260131T235959Z";
const KEY: &str = "ASIAEXAMPLE000000001";

fn authorization() -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20260131/eu-west-1/sts/aws4_request, SignedHeaders={SIGNED_HEADERS}, \
         Signature={}",
        "0a".repeat(32)
    )
}

fn region() -> Region {
    Region::parse("eu-west-1").unwrap()
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    Proof::new(region(), DATE_TEXT, &authorization(), "IQoJ/b3+token==").unwrap().write(&mut headers);
    headers
}

#[test]
fn a_proof_survives_its_headers_and_shows_no_secret() {
    let headers = headers();
    let proof = Proof::read(&headers).unwrap();
    let question = proof.question("sha256:aa/bb");
    let said = |name| question.iter().find(|(found, _)| *found == name).unwrap().1.clone();
    assert_eq!(said("host"), "sts.eu-west-1.amazonaws.com");
    assert_eq!(said("authorization"), authorization());
    assert_eq!(said("x-amz-security-token"), "IQoJ/b3+token==");
    assert_eq!(said("x-outrigger-controller"), "sha256:aa/bb");
    // What is signed is what is asked.
    let mut names: Vec<&str> =
        question.iter().map(|(name, _)| *name).filter(|n| *n != "authorization").collect();
    names.sort_unstable();
    assert_eq!(names.join(";"), SIGNED_HEADERS);
    let shown = format!("{proof:?} {headers:?}");
    assert!(!shown.contains("token==") && !shown.contains("0a0a"), "{shown}");
}

#[test]
fn dates_are_those_of_the_calendar() {
    let known = [
        ("19700101T000000Z", 0),
        ("20000229T120000Z", 951_825_600),
        ("20260131T235959Z", 1_769_903_999),
        ("20991231T000000Z", 4_102_358_400),
    ];
    for (text, seconds) in known {
        assert_eq!(date_of(text), Some(seconds), "{text}");
    }
    for bad in [
        "",
        "20260131T235959",
        "20261331T000000Z",
        "20260131 235959Z",
        "2026013１T00000Z",
        "19691231T000000Z",
    ] {
        assert_eq!(date_of(bad), None, "{bad}");
    }
}

#[test]
fn regions_of_three_partitions_and_no_host_of_anybody_else() {
    let of = |text| Region::parse(text).map(|region| (region.partition(), region.sts()));
    assert_eq!(of("us-gov-west-1"), Some(("aws-us-gov", "sts.us-gov-west-1.amazonaws.com".into())));
    assert_eq!(of("cn-north-1"), Some(("aws-cn", "sts.cn-north-1.amazonaws.com.cn".into())));
    assert_eq!(of("ap-southeast-10").map(|(partition, _)| partition), Some("aws"));
    for bad in [
        "",
        "eu",
        "eu-west",
        "-west-1",
        "eu--1",
        "eu-west-",
        "eu-west-x",
        "eu-west-111",
        "EU-west-1",
        "eu-west-1.evil",
        "evil.com/eu-west-1",
        "eu-west-1 ",
        "us-iso-east-1",
        "us-isob-east-1",
        "eusc-de-east-1",
        "eu-we@st-1",
        "eu-a-b-c-1",
        "eu-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1",
    ] {
        assert_eq!(of(bad), None, "{bad}");
    }
}

#[test]
fn what_is_smuggled_in_is_refused() {
    let good = authorization();
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let bad = [
        ("another service", with("/sts/", "/iam/")),
        ("another region", with("eu-west-1", "eu-west-2")),
        ("another day", with("/20260131/", "/20260130/")),
        ("one header more", with("content-type;host", "accept;content-type;host")),
        ("one header less", with(";x-outrigger-controller", "")),
        ("no host", with("host;", "")),
        ("another algorithm", with("HMAC", "ECDSA")),
        ("a signature in capitals", with("0a0a", "0A0A")),
        ("a long signature", format!("{good}00")),
        ("more at the end", format!("{good}, SignedHeaders=host")),
        ("a key of two lines", with(KEY, "ASIA\r\nhost: evil")),
        ("a short key", with(KEY, "ASIA")),
        ("a long key", with(KEY, &"A".repeat(200))),
        ("nothing", String::new()),
    ];
    for (what, authorization) in bad {
        assert!(Proof::new(region(), DATE_TEXT, &authorization, "token").is_err(), "{what}");
    }
    for token in ["", "to ken", "tok\nen", "tök", &"t".repeat(9000)] {
        assert_eq!(Proof::new(region(), DATE_TEXT, &good, token), Err(BadProof::Form("session token")));
    }
}

#[test]
fn each_header_is_there_once() {
    for name in [REGION, DATE, AUTHORIZATION, TOKEN] {
        let mut none = headers();
        let value = none.remove(&name).unwrap();
        assert!(matches!(Proof::read(&none), Err(BadProof::Count(_))), "{name}");
        let mut twice = headers();
        twice.append(&name, value);
        assert!(matches!(Proof::read(&twice), Err(BadProof::Count(_))), "{name}");
    }
}
