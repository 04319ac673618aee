//! Names of fields that this thread has read before, as they were spelt: to make one anew is to fold it, to look whether it
//! is in a standard, and if not to allocate.

use std::cell::RefCell;

use http::header::{HeaderName, InvalidHeaderName};

/// Names kept; a power of two. With what is kept for each they take some 8 KiB.
const MOST: usize = 128;
/// Longest name kept, bytes.
const LONGEST: usize = 32;

struct Known {
    spelt: [u8; LONGEST],
    length: usize,
    name: HeaderName,
}

thread_local! {
    /// Each has one place, where the last one that has it stays.
    static KNOWN: RefCell<Vec<Option<Known>>> = const { RefCell::new(Vec::new()) };
}

/// The same as [`HeaderName::from_bytes`].
///
/// # Errors
/// It is no name.
pub(super) fn of(spelt: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
    KNOWN.with_borrow_mut(|known| match known.get_mut(place(spelt)) {
        Some(Some(known)) if known.spelt.get(..known.length) == Some(spelt) => Ok(known.name.clone()),
        Some(place) => made(spelt, place),
        None => {
            known.resize_with(MOST, || None);
            HeaderName::from_bytes(spelt)
        }
    })
}

fn made(spelt: &[u8], place: &mut Option<Known>) -> Result<HeaderName, InvalidHeaderName> {
    let name = HeaderName::from_bytes(spelt)?;
    let mut copy = [0; LONGEST];
    if let Some(copied) = copy.get_mut(..spelt.len()) {
        copied.copy_from_slice(spelt);
        *place = Some(Known { spelt: copy, length: spelt.len(), name: name.clone() });
    }
    Ok(name)
}

/// Few bytes tell names apart: their ends and the middle.
fn place(spelt: &[u8]) -> usize {
    let at = |index: usize| spelt.get(index).copied().map_or(0, usize::from);
    let length = spelt.len();
    (at(0) + 5 * at(length / 2) + 11 * at(length.wrapping_sub(1)) + 17 * length) % MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_as_one_made_anew() {
        let long = "x".repeat(LONGEST + 1);
        // `e` and `E` are 32 apart, which may be the same place.
        let names = ["host", "Host", "HOST", "x-mine", "X-Mine", "content-type", "Content-Type", "a", &long];
        let bad = ["", "a b", "a:", "\u{e4}", "a\0"];
        for _ in 0..3 {
            for name in names.iter().chain(&bad) {
                assert_eq!(of(name.as_bytes()).ok(), HeaderName::from_bytes(name.as_bytes()).ok(), "{name}");
            }
        }
        for n in 0..10_000 {
            let name = format!("x-{n}");
            assert_eq!(of(name.as_bytes()).unwrap().as_str(), name);
        }
        KNOWN.with_borrow(|known| assert!(known.len() == MOST));
    }
}
