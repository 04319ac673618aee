//! The resolver as an application meets it: through the C library and the redirect.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use outrigger_sidecar::dns::{Names, Resolver};
use outrigger_wire::{ProxyConfig, port};
use tokio::sync::watch;

use crate::namespace::{Neighbour, inside, run};
use crate::rules::set_rules;

fn names() -> Names {
    let config: ProxyConfig = serde_json::from_value(serde_json::json!({
        "proxy": { "identity": "spiffe://shop.test/shop/web", "workload": "shop-web-1", "listeners": {} },
        "services": { "cart.shop": {
            "names": ["cart", "cart.shop"],
            "virtual_addresses": ["127.64.0.7"],
            "ports": {},
            "replicas": { "shop-cart-1": "10.9.0.77" }
        } }
    }))
    .unwrap();
    Names::of(&config)
}

/// Runs the resolver for the process's life; other names are refused at once.
fn start() {
    let (bound, ready) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let nobody = "127.0.0.1:9".parse().unwrap();
            let address = ([127, 0, 0, 1], port::DNS).into();
            let resolver = Resolver::bind(address, vec![nobody], Arc::default()).unwrap();
            bound.send(()).unwrap();
            let (_names, receiver) = watch::channel(Arc::new(names()));
            let (_stop, stopped) = watch::channel(());
            resolver.run(receiver, stopped).await;
        });
    });
    ready.recv().unwrap();
}

/// `getent DATABASE NAME` with this resolv.conf: the addresses or names it prints, each once.
fn getent(resolv_conf: &str, arguments: &str) -> Vec<String> {
    let file = std::env::temp_dir().join(format!("outrigger-{}.conf", std::process::id()));
    std::fs::write(&file, resolv_conf).unwrap();
    run(&format!("mount --bind {} /etc/resolv.conf", file.display()));
    let done = Command::new("getent").args(arguments.split(' ')).output().unwrap();
    run("umount /etc/resolv.conf");
    std::fs::remove_file(file).unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let mut words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    words.dedup();
    words.retain(|word| !["STREAM", "DGRAM", "RAW"].contains(&word.as_str()));
    words.sort();
    words.dedup();
    words
}

#[test]
fn the_c_library_finds_mesh_names_whatever_server_it_asks() {
    inside("resolver::the_c_library_finds_mesh_names_whatever_server_it_asks", || {
        let _neighbour = Neighbour::new();
        let _tcp =
            [port::OUTBOUND, port::INBOUND].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        start();
        set_rules();
        for servers in [
            "nameserver 127.0.0.11\noptions ndots:0\n",
            "nameserver 10.9.0.2\n",
            "nameserver fd09::2\n",
            // The name is asked with the search domain first, refused, and then as it is.
            "nameserver 10.9.0.2\nsearch example.test\noptions ndots:1\n",
            "nameserver 10.9.0.2\noptions use-vc\n",
            "nameserver 10.9.0.2\noptions edns0\n",
        ] {
            assert_eq!(getent(servers, "ahosts cart"), ["127.64.0.7", "cart"], "{servers}");
            assert_eq!(getent(servers, "ahosts Cart.Shop"), ["127.64.0.7", "Cart.Shop"], "{servers}");
            assert_eq!(getent(servers, "ahosts shop-cart-1"), ["10.9.0.77", "shop-cart-1"], "{servers}");
            assert_eq!(getent(servers, "hosts 127.64.0.7"), ["127.64.0.7", "cart"], "{servers}");
            assert!(getent(servers, "ahosts other.test").is_empty(), "{servers}");
        }
    });
}
