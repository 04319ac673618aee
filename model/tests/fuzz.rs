//! The fuzz targets over mutated examples, for a moment and the same way each time; `cargo xtask fuzz` goes on for longer.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Mutated inputs for each target; a tenth of a millisecond each.
const ROUNDS: u64 = 2_000;
/// What reading one example may take on a busy machine, unoptimised.
const LONGEST: Duration = Duration::from_secs(5);
/// Pieces that matter to a reader of YAML or of labels.
const PIECES: [&str; 40] = [
    ":",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "\t",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "#",
    " #",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "<<: ",
    "? ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "~",
    "null",
    "\r\n",
    "\u{feff}",
    "\u{2028}",
    "\0",
    "mode: strict",
    "services:",
    "0",
    "65536",
    "=",
    "outrigger.edge=",
    "none",
    "99999999999999999999",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every `mesh.yaml` of the goldens.
fn mesh_files() -> Vec<Vec<u8>> {
    let cases = fs::read_dir(root().join("model/tests/golden")).unwrap();
    let mut files: Vec<_> =
        cases.map(|case| case.unwrap().path().join("mesh.yaml")).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn label_files() -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        fs::read_dir(root().join("fuzz/corpus/labels")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn mutated(examples: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = examples[rng.usize(..examples.len())].clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..12)).min(bytes.len());
        match rng.u8(..6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, PIECES[rng.usize(..PIECES.len())].bytes())),
            2 => drop(bytes.splice(at..end, PIECES[rng.usize(..PIECES.len())].bytes())),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = rng.usize(..=bytes.len());
                drop(bytes.splice(to..to, copy));
            }
            4 if at < bytes.len() => bytes[at] = rng.u8(..),
            _ => {
                let other = &examples[rng.usize(..examples.len())];
                let from = rng.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

/// Runs a target over examples and their mutations; what makes it panic is shown, with the seed that made it.
fn run(target: fn(&[u8]), examples: &[Vec<u8>]) {
    let hold = |seed: u64, bytes: &[u8]| {
        let begun = Instant::now();
        let held = catch_unwind(|| target(bytes)).is_ok() && begun.elapsed() < LONGEST;
        assert!(held, "seed {seed}, {:?}: {:?}", begun.elapsed(), String::from_utf8_lossy(bytes));
    };
    examples.iter().for_each(|example| hold(0, example));
    for seed in 1..=ROUNDS {
        hold(seed, &mutated(examples, &mut Rng::with_seed(seed)));
    }
}

#[test]
fn no_bytes_make_the_reader_of_mesh_files_panic() {
    run(targets::mesh_file, &mesh_files());
}

#[test]
fn no_bytes_make_the_reader_of_labels_panic_or_loosen_a_mesh_file() {
    run(targets::labels, &label_files());
}

/// Small files that ask for much are refused, quickly.
#[test]
fn small_files_that_grow_are_refused() {
    let doubling: String = (1..40).map(|n| format!("k{n}: &a{n} [ *a{p}, *a{p} ]\n", p = n - 1)).collect();
    let chain: String = (1..3000).map(|n| format!("k{n}: &a{n} [ *a{} ]\n", n - 1)).collect();
    for (what, text) in [
        ("aliases of aliases", format!("k0: &a0 [ x ]\n{doubling}")),
        ("a chain of aliases", format!("k0: &a0 [ x ]\n{chain}")),
        ("brackets", "[".repeat(200_000)),
        ("braces", "{a: ".repeat(200_000)),
        ("indentation", (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("dashes", "- ".repeat(100_000)),
        ("questions", "? ".repeat(100_000)),
        ("many keys", (0..400_000).map(|n| format!("k{n}:\n")).collect()),
        ("many items", "edge: [".to_owned() + &"a,".repeat(1_000_000)),
        ("tags", "- !x\n".repeat(200_000)),
        ("lists as keys", format!("{{ {} }}", "[]: 1, ".repeat(100_000))),
        ("a long word", "mode: ".to_owned() + &"x".repeat(4_000_000)),
        ("a file too long", "#".repeat(5_000_000)),
    ] {
        let begun = Instant::now();
        let faults = outrigger_model::Mesh::read(&text, "mesh.yaml").unwrap_err();
        assert!(!faults.is_empty() && faults.len() <= 1_001, "{what}: {}", faults.len());
        assert!(begun.elapsed() < 4 * LONGEST, "{what}: {:?}", begun.elapsed());
        eprintln!("{what}: {:?}, {} faults, {}", begun.elapsed(), faults.len(), faults[0]);
    }
}
