use super::*;
use crate::{Mode, Protocol, Upstream};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn faults(pairs: &[(&str, &str)]) -> Vec<String> {
    read(&labels(pairs)).faults.iter().map(ToString::to_string).collect()
}

#[test]
fn without_the_label_nothing_is_meshed() {
    assert_eq!(parse(&labels(&[("com.example", "x")]), "cart"), Ok(None));
    assert_eq!(parse(&labels(&[("outrigger.enable", "false")]), "cart"), Ok(None));
}

#[test]
fn ports_carry_their_protocol() {
    let found = parse(&labels(&[(ENABLE, "true"), ("outrigger.port", "8080/http, 6379/tcp,9000")]), "cart");
    let declared = found.unwrap().unwrap();
    assert_eq!(declared.service, "cart");
    let want = [(8080, Protocol::Http), (6379, Protocol::Tcp), (9000, Protocol::Detect)];
    assert_eq!(declared.ports, want.into_iter().collect());
}

#[test]
fn upstreams_have_local_ports_of_their_own() {
    let of =
        |value| read(&labels(&[("outrigger.upstreams", value)])).settings.upstreams.map(|said| said.value);
    let upstream = |service: &str, port| Upstream { service: service.into(), port };
    let want = [(8080, upstream("cart", 8080)), (9001, upstream("redis.shop", 6379))];
    assert_eq!(of("cart:8080, redis.shop:6379=9001"), Some(want.into_iter().collect()));
    let fault = |value| faults(&[("outrigger.upstreams", value)]).join("\n");
    assert!(fault("cart:8080,web:8080").contains("local port 8080 is taken by cart:8080"));
    assert!(fault("cart").contains("write cart:8080"));
    assert_eq!(faults(&[("outrigger.upstreams", "Cart:80")]).len(), 1);
}

#[test]
fn no_edge_can_be_said() {
    let edge = |value| read(&labels(&[("outrigger.edge", value)])).settings.edge.map(|said| said.value);
    assert_eq!(edge("none"), Some(BTreeSet::new()));
    assert_eq!(edge("80, 443"), Some([80, 443].into_iter().collect()));
    assert_eq!(edge(""), None);
}

#[test]
fn proxy_headers_are_told_by_port_or_key_by_key() {
    let of = |value| {
        let said = read(&labels(&[("outrigger.proxy-protocol", value)])).settings.proxy_protocol?;
        let from: Vec<_> = said.value.from.iter().map(ToString::to_string).collect();
        Some((said.value.accept, from.join(" "), said.value.send))
    };
    assert_eq!(of("443, 8443"), Some(([443, 8443].into(), String::new(), BTreeSet::new())));
    let whole = of("in=443,8443; from = 10.0.0.0/8, fd00::1 ; out=5432");
    assert_eq!(whole, Some(([443, 8443].into(), "10.0.0.0/8 fd00::1/128".into(), [5432].into())));
    // What names the load balancers and cannot be read would mean everybody: nothing of it holds.
    assert_eq!(
        ["in=443; from=10.0.0.0/33", "in=443; form=10.0.0.0/8", "in=443; from=", ""].map(of),
        [const { None }; 4]
    );
    let fault = |value| faults(&[("outrigger.proxy-protocol", value)]).join("\n");
    assert!(
        fault("in=443; form=10.0.0.0/8").contains("did you mean from?"),
        "{}",
        fault("in=443; form=10.0.0.0/8")
    );
    assert!(fault("in=443; in=80").contains("in"), "{}", fault("in=443; in=80"));
}

/// The file's word stands, whole.
#[test]
fn proxy_headers_of_the_mesh_file_stand() {
    let file = "services: { cart: { proxy-protocol: { in: [ 443 ], from: 10.0.0.1 } } }";
    let mesh = Mesh::read(file, "mesh.yaml").unwrap();
    let said = read(&labels(&[("outrigger.proxy-protocol", "443")]));
    let key = ServiceKey { namespace: "shop".into(), service: "cart".into() };
    let (declared, faults) = mesh.declare(&key, &said, &BTreeSet::new());
    assert_eq!(declared.proxy_protocol.from.len(), 1);
    assert!(
        faults[0].to_string().contains("mesh.yaml says otherwise of cart.shop, and stands"),
        "{}",
        faults[0]
    );
}

#[test]
fn a_weight_is_a_number() {
    let weight = |value| read(&labels(&[("outrigger.weight", value)])).weight;
    assert_eq!(["0", "50", "1000"].map(weight), [Some(0), Some(50), Some(1000)]);
    assert_eq!(["1001", "-1", "50%", ""].map(weight), [None; 4]);
    assert!(faults(&[("outrigger.weight", "50%")])[0].contains("write a number from 0 to 1000"));
}

#[test]
fn a_weight_in_the_mesh_file_is_sent_to_the_label() {
    let faults = Mesh::read("services: { cart: { weight: 50 } }", "mesh.yaml").unwrap_err();
    let told = faults[0].to_string();
    assert!(told.contains("it is said of single containers, by the label outrigger.weight"), "{told}");
}

#[test]
fn every_fault_is_reported_with_what_to_write() {
    let pairs = [
        (ENABLE, "yes"),
        ("outrigger.ports", "1"),
        ("outrigger.port", "80/htp,0"),
        ("outrigger.mode", "Strict"),
        ("outrigger.zzzzzz", ""),
    ];
    assert_eq!(
        faults(&pairs),
        [
            r#"label outrigger.enable: "yes" is neither "true" nor "false"; write one of them"#,
            r#"label outrigger.mode: "Strict" is not known here; did you mean strict? write permissive or strict"#,
            r#"label outrigger.port: "htp" is not known here; did you mean http? write detect, http, http2, grpc or tcp"#,
            r#"label outrigger.port: "0" is not a port; write a number from 1 to 65535, such as 8080"#,
            r#"label outrigger.ports: there is no such label; did you mean outrigger.port?"#,
            r#"label outrigger.zzzzzz: there is no such label; known are outrigger.{enable, service, version, weight, port, mode, capture, edge, app-address, upstreams, proxy-protocol, timeout, idle-timeout, connect-timeout, retries, health, balance, rate-limit}"#,
        ]
    );
    assert!(read(&labels(&pairs)).unusable, "nobody knows whether it is to be meshed");
}

#[test]
fn what_cannot_be_read_and_protects_counts_as_closed() {
    let said = read(&labels(&[(ENABLE, "true"), ("outrigger.mode", "strickt"), ("outrigger.edge", "8O")]));
    assert!(!said.unusable);
    let key = ServiceKey { namespace: "shop".into(), service: "cart".into() };
    let (declared, faults) = Mesh::default().declare(&key, &said, &[80].into());
    assert_eq!((declared.mode, declared.edge, faults.len()), (Mode::Strict, Some(BTreeSet::new()), 2));
}

#[test]
fn labels_of_ours_on_a_holder_are_no_fault() {
    let ours = [(MANAGED, HOLDER), (APP, "cart"), (REPLICA, "1"), (ENABLE, "true")];
    assert_eq!(faults(&ours), Vec::<String>::new());
    assert_eq!(faults(&ours[1..]).len(), 2);
}

/// Found by fuzzing: the name of a label came into logs as it was.
#[test]
fn a_label_with_control_characters_in_its_name_is_told_in_one_line() {
    let told = faults(&[("outrigger.\tmode\n", "strict"), ("outrigger.mode", "a\x1b[2J\nb")]).join("");
    assert!(!told.contains(char::is_control), "{told:?}");
}
