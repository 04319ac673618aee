//! Golden pictures: `cases/NAME.json` drawn is `cases/NAME.txt`. OUTRIGGER_BLESS=1 writes them anew; the diff is the review.

use std::fs;
use std::path::{Path, PathBuf};

use super::answer::Status;
use super::table::WIDTH;
use super::{draw, faults};

/// The moment at which all cases are drawn, Unix seconds.
const NOW: u64 = 1_763_890_000;

fn case(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/status/cases").join(file)
}

fn read(name: &str) -> Status {
    serde_json::from_str(&fs::read_to_string(case(&format!("{name}.json"))).unwrap()).unwrap()
}

fn check(name: &str, sound: bool) {
    let status = read(name);
    let faults = faults::find(&status, NOW);
    assert_eq!(faults.is_empty(), sound, "{faults:#?}");
    let drawn = draw::status(&status, &faults, NOW, false);
    for line in drawn.lines() {
        assert!(line.chars().count() <= WIDTH, "wider than {WIDTH}: {line}");
        assert!(!line.ends_with(' ') && !line.contains('\x1b'), "{line:?}");
    }
    let golden = case(&format!("{name}.txt"));
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        fs::write(&golden, &drawn).unwrap();
    }
    assert_eq!(
        drawn,
        fs::read_to_string(&golden).unwrap(),
        "run again with OUTRIGGER_BLESS=1 and read the diff"
    );
}

#[test]
fn a_sound_shop() {
    check("shop", true);
}

#[test]
fn everything_broken() {
    check("broken", false);
}

/// Half of the callers are in a zone without a ready replica; of `job` it is not known where it is.
#[test]
fn zones_and_names_on_ecs() {
    check("zones", false);
}

#[test]
fn a_mesh_without_services() {
    check("empty", true);
}

#[test]
fn strict_check_names_who_would_break_and_what_is_not_known() {
    let shop = read("shop");
    let check = |wanted: &[&str]| {
        let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
        super::outside::check(&shop, &wanted)
    };
    assert_eq!(check(&["redis"]), [""; 0]);
    assert_eq!(
        check(&["cart.shop", "redis"]),
        ["cart.shop: container shop-legacy-1 (legacy of shop) calls port 8080 in plaintext (41 connections)"]
    );
    assert_eq!(check(&[]).len(), 2, "web has a caller on a port that is no edge");
    assert!(check(&["crat"])[0].contains("no such service"));
    let broken = super::outside::check(&read("broken"), &[]);
    assert!(broken.iter().any(|line| line.contains("without its sidecar")), "{broken:?}");
}

#[test]
fn colours_only_paint() {
    let status = read("broken");
    let faults = faults::find(&status, NOW);
    let mut painted = draw::status(&status, &faults, NOW, true);
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"] {
        painted = painted.replace(code, "");
    }
    assert_eq!(painted, draw::status(&status, &faults, NOW, false));
}

#[test]
fn spans() {
    let shown: Vec<String> = [0, 59, 60, 3599, 3600, 86_399, 86_400, 10_000_000].map(draw::span).into();
    assert_eq!(shown, ["0s", "59s", "1m", "59m", "1h00m", "23h59m", "1d00h", "115d17h"]);
}
