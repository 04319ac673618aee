use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use outrigger_wire::{Mode, Proxy, SpiffeId};

use super::*;
use crate::state::LAST_GOOD;

fn fresh(name: &str) -> State {
    let directory = std::env::temp_dir().join(format!("outrigger-control-{name}-{}", std::process::id()));
    let _absent = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    State::new(directory)
}

fn config(workload: &str) -> ProxyConfig {
    let proxy = Proxy {
        identity: SpiffeId::new("outrigger.internal", "shop", "cart").unwrap(),
        workload: workload.into(),
        zone: None,
        mode: Mode::Permissive,
        edge: Default::default(),
        listeners: BTreeMap::new(),
        ports: BTreeMap::new(),
        seen_ports: true,
        rate_limits: Vec::new(),
        capacity: Default::default(),
        hosts: false,
        check: None,
    };
    ProxyConfig { proxy, services: Default::default(), clusters: Default::default() }
}

/// Runs everything, or nothing.
fn apply(takes: bool) -> (Apply, Arc<Mutex<Vec<ProxyConfig>>>) {
    let applied = Arc::new(Mutex::new(Vec::new()));
    let into = applied.clone();
    let apply: Apply = Box::new(move |config, _| {
        if !takes {
            return Err(vec!["the port is taken".into()]);
        }
        into.lock().unwrap().push(config);
        Ok(())
    });
    (apply, applied)
}

#[test]
fn the_last_good_configuration_runs_and_is_held() {
    let state = fresh("good");
    state.write(LAST_GOOD, &serde_json::to_vec(&config("cart-1")).unwrap()).unwrap();
    let (mut apply, applied) = apply(true);
    let held = keep::load(&state, &mut apply);
    assert_eq!(held, Held::of(&config("cart-1")));
    assert_eq!(*applied.lock().unwrap(), [config("cart-1")]);
}

#[test]
fn nothing_stored_is_nothing_held() {
    let (mut apply, applied) = apply(true);
    assert_eq!(keep::load(&fresh("none"), &mut apply), Held::default());
    assert!(applied.lock().unwrap().is_empty());
}

#[test]
fn a_corrupt_file_is_moved_aside_and_nothing_of_it_runs() {
    let whole = serde_json::to_vec(&config("cart-1")).unwrap();
    for bad in [&b""[..], b"{", &whole[..whole.len() - 2], br#"{"proxy":{},"more":1}"#, &[0xff; 9]] {
        let state = fresh("corrupt");
        state.write(LAST_GOOD, bad).unwrap();
        let (mut apply, applied) = apply(true);
        assert_eq!(keep::load(&state, &mut apply), Held::default());
        assert!(applied.lock().unwrap().is_empty());
        assert!(!state.path(LAST_GOOD).exists());
        assert_eq!(fs::read(state.path("last-good.json.corrupt")).unwrap(), bad);
    }
}

#[test]
fn a_good_file_that_does_not_run_stays() {
    let state = fresh("taken");
    state.write(LAST_GOOD, &serde_json::to_vec(&config("cart-1")).unwrap()).unwrap();
    assert_eq!(keep::load(&state, &mut apply(false).0), Held::default());
    assert!(state.path(LAST_GOOD).exists());
}

#[tokio::test]
async fn what_runs_is_stored_and_a_failing_disk_is_survived() {
    let state = fresh("store");
    let (good, identity) = (watch::Sender::new(None), watch::Sender::new(None));
    let follow = keep::follow(state.clone(), good.subscribe(), identity.subscribe());
    let stored = async {
        good.send_replace(Some(Arc::new(config("cart-1"))));
        wait_for(|| state.path(LAST_GOOD).exists()).await;
        fs::remove_dir_all(state.path("")).unwrap();
        good.send_replace(Some(Arc::new(config("cart-2"))));
        tokio::task::yield_now().await;
        fs::create_dir_all(state.path("")).unwrap();
        good.send_replace(Some(Arc::new(config("cart-3"))));
        wait_for(|| {
            let stored = state.read(LAST_GOOD).unwrap().unwrap_or_default();
            stored == serde_json::to_vec_pretty(&config("cart-3")).unwrap()
        })
        .await;
    };
    tokio::select! {
        () = follow => panic!("it ended"),
        done = tokio::time::timeout(Duration::from_secs(20), stored) => done.unwrap(),
    }
}

async fn wait_for(mut holds: impl FnMut() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(5)).await;
    }
}
