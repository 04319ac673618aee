//! What is to be written into a hosts file (hosts(5)). Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Names;

/// Stands at the end of each line of ours.
const MARK: &str = " # outrigger";
/// A line that begins with it says nothing.
const OFF: u8 = b'#';

/// The first byte of a line of ours, to be changed: readers see the line as it was, or as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Switch {
    pub at: u64,
    pub to: u8,
}

/// One line of ours, without its mark.
struct Own<'a> {
    at: usize,
    on: bool,
    /// All but the first byte: an address never begins with `#`, and that byte follows from the rest of the file.
    rest: &'a [u8],
}

/// Lines to be added, switched off: whoever reads a part of them reads a comment.
pub(super) fn missing(file: &[u8], names: &Names) -> Vec<u8> {
    let own: BTreeSet<&[u8]> = own(file).map(|line| line.rest).collect();
    let mut added = Vec::new();
    for line in wanted(file, names) {
        let Some((_, rest)) = line.as_bytes().split_first().filter(|(_, rest)| !own.contains(rest)) else {
            continue;
        };
        if added.is_empty() && file.last().is_some_and(|last| *last != b'\n') {
            added.push(b'\n');
        }
        added.push(OFF);
        added.extend_from_slice(rest);
        added.extend_from_slice(MARK.as_bytes());
        added.push(b'\n');
    }
    added
}

/// Lines of ours to be switched on, then those to be switched off.
pub(super) fn switches(file: &[u8], names: &Names) -> Vec<Switch> {
    let wanted: Vec<String> = wanted(file, names).collect();
    let mut wanted: BTreeMap<&[u8], u8> = wanted
        .iter()
        .filter_map(|line| line.as_bytes().split_first().map(|(first, rest)| (rest, *first)))
        .collect();
    let (mut on, mut off) = (Vec::new(), Vec::new());
    let (standing, silent): (Vec<_>, Vec<_>) = own(file).partition(|line| line.on);
    for line in standing {
        // Removed: a second line of the same is one too many.
        if wanted.remove(line.rest).is_none() {
            off.push(Switch { at: line.at as u64, to: OFF });
        }
    }
    for line in silent {
        if let Some(first) = wanted.remove(line.rest) {
            on.push(Switch { at: line.at as u64, to: first });
        }
    }
    on.append(&mut off);
    on
}

/// Letters, digits, `-`, `_` and `.`, at most 253: anything else could be more than a name.
pub(super) fn is_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(letter)
}

/// The lines that should stand: one for each name, since some readers take lines of 511 bytes at most (musl). Without
/// the names that lines of others give: two answers for one name would be a matter of luck.
fn wanted(file: &[u8], names: &Names) -> impl Iterator<Item = String> {
    let foreign = foreign_names(file);
    let free = move |(name, _): &&(String, _)| !foreign.contains(name);
    names.iter().filter(free).map(|(name, address)| format!("{address} {name}"))
}

fn foreign_names(file: &[u8]) -> BTreeSet<String> {
    let foreign = lines(file).filter(|(_, line)| !line.ends_with(MARK.as_bytes()));
    let said = foreign.filter_map(|(_, line)| line.split(|byte| *byte == b'#').next());
    let names =
        said.flat_map(|line| line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(1));
    names.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect()
}

fn own(file: &[u8]) -> impl Iterator<Item = Own<'_>> {
    lines(file).filter_map(|(at, line)| {
        let (first, rest) = line.strip_suffix(MARK.as_bytes())?.split_first()?;
        Some(Own { at, on: *first != OFF, rest })
    })
}

/// Each line with its place, without its end.
fn lines(file: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    file.split(|byte| *byte == b'\n').map(move |line| {
        let here = at;
        at += line.len() + 1;
        (here, line)
    })
}
