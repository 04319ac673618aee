use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const DOCKERS: &str =
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n10.0.0.2\tweb-1 # own\n10.9.9.9 legacy\n";

fn names(pairs: &[(&str, &str)]) -> Names {
    pairs.iter().map(|(name, ip)| ((*name).to_owned(), ip.parse().unwrap())).collect()
}

/// A hosts file of its own, gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(test: &str, text: &str) -> (Self, Hosts) {
        let path = std::env::temp_dir().join(format!("outrigger-hosts-{test}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let hosts = Hosts::open(&path).unwrap();
        (Self(path), hosts)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }

    /// What an application understands.
    fn said(&self) -> Vec<String> {
        said(&self.text())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.0);
    }
}

fn said(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap().trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn what_keeps_names_out_of_the_file_is_told_until_it_is_over() {
    let error = Hosts::open(Path::new("/nowhere/hosts")).unwrap_err();
    let refused = Hosts::refused(&error);
    refused.keep(&names(&[("cart", "127.64.0.1")])).unwrap();
    assert!(refused.fault().borrow().contains("/nowhere/hosts"), "{:?}", refused.fault());

    let (_place, hosts) = Place::new("fault", DOCKERS);
    let fault = hosts.fault();
    let many = (0..=MAX_NAMES).map(|at| (format!("s{at}"), "127.64.0.1".parse().unwrap()));
    hosts.keep(&many.collect()).unwrap_err();
    assert!(!fault.borrow().is_empty());
    hosts.keep(&names(&[("cart", "127.64.0.1")])).unwrap();
    assert_eq!(fault.borrow().as_str(), "");
}

#[test]
fn where_a_zone_has_the_names_nothing_is_kept() {
    let hosts = Hosts::elsewhere();
    hosts.check(&names(&[("cart", "127.64.0.1")])).unwrap();
    hosts.keep(&names(&[("cart", "127.64.0.1")])).unwrap();
}

#[test]
fn names_come_and_go_and_other_lines_stay() {
    let (place, hosts) = Place::new("come-and-go", DOCKERS.trim_end());
    hosts.keep(&names(&[("cart", "127.64.0.1"), ("cart.shop", "127.64.0.1")])).unwrap();
    let first = format!("{DOCKERS}127.64.0.1 cart # outrigger\n127.64.0.1 cart.shop # outrigger\n");
    assert_eq!(place.text(), first);
    hosts.keep(&names(&[("cart", "127.64.0.1"), ("db", "127.64.0.2")])).unwrap();
    let second = format!(
        "{DOCKERS}127.64.0.1 cart # outrigger\n#27.64.0.1 cart.shop # outrigger\n127.64.0.2 db # outrigger\n"
    );
    assert_eq!(place.text(), second);
    hosts.keep(&names(&[("cart", "127.64.0.9"), ("cart.shop", "127.64.0.1"), ("db", "127.64.0.2")])).unwrap();
    assert!(place.text().starts_with(DOCKERS));
    let own = ["127.64.0.1 cart.shop", "127.64.0.2 db", "127.64.0.9 cart"];
    assert_eq!(place.said()[4..], own, "another address is another line");
    hosts.keep(&Names::new()).unwrap();
    assert_eq!(said(DOCKERS), place.said());
}

#[test]
fn what_a_dead_predecessor_or_a_full_disk_left_is_put_right() {
    let left = "127.64.0.1 cart # outrigger\n127.64.0.7 old # outrigger\n#27.64.0.2 db # outrigger\n127.64.0.1 cart # outrigger\n#27.64.0.";
    let (place, hosts) = Place::new("predecessor", &format!("{DOCKERS}{left}"));
    let wanted = names(&[("cart", "127.64.0.1"), ("db", "127.64.0.2"), ("new", "127.64.0.3")]);
    hosts.keep(&wanted).unwrap();
    let own = ["127.64.0.1 cart", "127.64.0.2 db", "127.64.0.3 new"];
    assert_eq!(place.said()[4..], own, "{}", place.text());
    let before = place.text();
    hosts.keep(&wanted).unwrap();
    assert_eq!(place.text(), before, "nothing to do is nothing written");
}

#[test]
fn a_name_that_somebody_else_gives_is_left_to_them() {
    let (place, hosts) = Place::new("foreign", DOCKERS);
    let wanted = names(&[("legacy", "127.64.0.1"), ("localhost", "127.64.0.2"), ("web-1", "127.64.0.3")]);
    hosts.keep(&wanted).unwrap();
    assert_eq!(place.text(), DOCKERS);
    // Appended by an entrypoint, after ours was there.
    hosts.keep(&names(&[("cart", "127.64.0.4"), ("db", "127.64.0.5")])).unwrap();
    let mut end = OpenOptions::new().append(true).open(&place.0).unwrap();
    end.write_all(b"10.1.1.1 Cart\n").unwrap();
    hosts.keep(&names(&[("cart", "127.64.0.4"), ("db", "127.64.0.5"), ("new", "127.64.0.6")])).unwrap();
    assert_eq!(place.said()[4..], ["127.64.0.5 db", "10.1.1.1 Cart", "127.64.0.6 new"]);
}

/// Reads in small pieces, as the C libraries do, while names come and go.
#[test]
fn who_reads_meanwhile_sees_whole_lines_and_every_name_that_stays() {
    let (place, hosts) = Place::new("meanwhile", DOCKERS);
    let stays: Vec<(String, IpAddr)> =
        (0..40).map(|n| (format!("stays-{n}.shop"), format!("127.64.1.{n}").parse().unwrap())).collect();
    let goes: Vec<(String, IpAddr)> =
        (0..40).map(|n| (format!("goes-{n}.shop"), format!("127.64.2.{n}").parse().unwrap())).collect();
    let some: Names = stays.iter().cloned().collect();
    let all: Names = stays.iter().chain(&goes).cloned().collect();
    let valid: BTreeSet<String> =
        said(DOCKERS).into_iter().chain(all.iter().map(|(name, ip)| format!("{ip} {name}"))).collect();
    let expected: BTreeSet<String> = some.iter().map(|(name, ip)| format!("{ip} {name}")).collect();
    hosts.keep(&some).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let mut file = File::open(&place.0).unwrap();
                let (mut text, mut piece) = (Vec::new(), [0; 61]);
                while let length @ 1.. = file.read(&mut piece).unwrap() {
                    text.extend_from_slice(&piece[..length]);
                }
                let seen: BTreeSet<String> = said(&String::from_utf8(text).unwrap()).into_iter().collect();
                let torn: Vec<_> = seen.difference(&valid).collect();
                assert!(torn.is_empty(), "{torn:?}");
                let lost: Vec<_> = expected.difference(&seen).collect();
                assert!(lost.is_empty(), "{lost:?}");
                reads += 1;
            }
            reads
        });
        for _ in 0..1_000 {
            hosts.keep(&all).unwrap();
            hosts.keep(&some).unwrap();
        }
        over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn what_would_be_too_much_is_refused_before_anything_is_written() {
    let (place, hosts) = Place::new("too-much", DOCKERS);
    let many: Names = (0..=MAX_NAMES).map(|n| (format!("s{n}"), "127.64.0.1".parse().unwrap())).collect();
    assert!(hosts.keep(&many).unwrap_err().to_string().contains("over 5000"));
    assert_eq!(place.text(), DOCKERS);
    std::fs::write(&place.0, "#".repeat(usize::try_from(MAX_FILE).unwrap())).unwrap();
    assert!(matches!(hosts.keep(&names(&[("a", "127.64.0.1")])), Err(HostsError::Long { .. })));
    let error = Hosts::open(Path::new("/nowhere/hosts")).unwrap_err().to_string();
    assert!(error.contains("start as uid 0"), "{error}");
}

#[test]
fn only_names_that_are_names_are_written() {
    let yaml = "
proxy: { identity: 'spiffe://shop.internal/shop/web', workload: web-1, listeners: {}, hosts: true }
services:
  cart.shop: { names: [cart, \"a b\", \"x\\n1.2.3.4 y\", Cart.Shop, ''], virtual_addresses: [127.64.0.1], ports: {} }
  left.shop: { names: [left], ports: {} }
";
    let mut config: ProxyConfig = serde_yaml::from_str(yaml).unwrap();
    assert_eq!(names_of(&config), names(&[("cart", "127.64.0.1"), ("cart.shop", "127.64.0.1")]));
    config.proxy.hosts = false;
    assert!(names_of(&config).is_empty());
}
