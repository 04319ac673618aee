//! A unified difference of two texts, by lines (Hirschberg, "A linear space algorithm for computing maximal common
//! subsequences": a large project does not fit in a table).

use std::fmt::Write;
use std::iter::repeat_n;

/// Equal lines shown around each change.
const AROUND: usize = 3;

/// One line of the way from one text to the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Keep,
    Remove,
    Add,
}

/// The difference; empty if there is none.
pub fn unified(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let steps = steps(&old, &new);
    let mut shown = vec![false; steps.len()];
    for (at, _) in steps.iter().enumerate().filter(|(_, step)| **step != Step::Keep) {
        let around = at.saturating_sub(AROUND)..(at + AROUND + 1).min(steps.len());
        shown.get_mut(around).into_iter().flatten().for_each(|shown| *shown = true);
    }
    let mut out = if shown.contains(&true) { "--- as it is\n+++ meshed\n".to_owned() } else { String::new() };
    let (mut before, mut after) = (0, 0);
    let mut open = false;
    for (at, (step, shown_here)) in steps.iter().zip(&shown).enumerate() {
        if *shown_here && !open {
            let hunk =
                steps.iter().zip(&shown).skip(at).take_while(|(_, shown)| **shown).map(|(step, _)| *step);
            let hunk: Vec<Step> = hunk.collect();
            let count = |not: Step| hunk.iter().filter(|step| **step != not).count();
            let (removed, added) = (count(Step::Add), count(Step::Remove));
            let _infallible = writeln!(
                out,
                "@@ -{},{removed} +{},{added} @@",
                before + usize::from(removed > 0),
                after + usize::from(added > 0)
            );
        }
        open = *shown_here;
        let (sign, line) = match step {
            Step::Keep => (' ', old.get(before)),
            Step::Remove => ('-', old.get(before)),
            Step::Add => ('+', new.get(after)),
        };
        if let (true, Some(line)) = (open, line) {
            let _infallible = writeln!(out, "{sign}{line}");
        }
        before += usize::from(*step != Step::Add);
        after += usize::from(*step != Step::Remove);
    }
    out
}

/// The shortest way.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(old.len() + new.len());
    walk(old, new, &mut steps);
    steps
}

fn walk(old: &[&str], new: &[&str], steps: &mut Vec<Step>) {
    let equal = |(left, right): &(&&str, &&str)| left == right;
    let head = old.iter().zip(new).take_while(equal).count();
    let (Some(old), Some(new)) = (old.get(head..), new.get(head..)) else { return };
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(equal).count();
    let (old, _) = old.split_at(old.len() - tail);
    let (new, _) = new.split_at(new.len() - tail);
    steps.extend(repeat_n(Step::Keep, head));
    match old {
        [] => steps.extend(repeat_n(Step::Add, new.len())),
        [line] if !new.contains(line) => {
            steps.push(Step::Remove);
            steps.extend(repeat_n(Step::Add, new.len()));
        }
        [line] => {
            let place = new.iter().position(|other| other == line).unwrap_or(new.len());
            steps.extend(repeat_n(Step::Add, place));
            steps.push(Step::Keep);
            steps.extend(repeat_n(Step::Add, new.len().saturating_sub(place + 1)));
        }
        _ if new.is_empty() => steps.extend(repeat_n(Step::Remove, old.len())),
        _ => {
            let (upper, lower) = old.split_at(old.len() / 2);
            let before = common(upper.iter(), || new.iter());
            let after = common(lower.iter().rev(), || new.iter().rev());
            let together = before.iter().zip(after.iter().rev()).map(|(before, after)| before + after);
            let place =
                together.enumerate().max_by_key(|(at, sum)| (*sum, usize::MAX - at)).map_or(0, |(at, _)| at);
            let (left, right) = new.split_at(place);
            walk(upper, left, steps);
            walk(lower, right, steps);
        }
    }
    steps.extend(repeat_n(Step::Keep, tail));
}

/// Lines that `old` has in common, in order, with the first 0, 1, 2, … lines of `new`.
fn common<'a, I: Iterator<Item = &'a &'a str>>(
    old: impl Iterator<Item = &'a &'a str>,
    new: impl Fn() -> I,
) -> Vec<usize> {
    let mut row = vec![0; new().count() + 1];
    for left in old {
        let (mut diagonal, mut beside) = (0, 0);
        for (cell, right) in row.iter_mut().skip(1).zip(new()) {
            let above = *cell;
            *cell = if left == right { diagonal + 1 } else { above.max(beside) };
            (diagonal, beside) = (above, *cell);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn equal_texts_have_none() {
        assert_eq!(unified("a\nb\n", "a\nb\n"), "");
    }

    #[test]
    fn changes_far_apart_are_hunks_of_their_own() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n2\n", "\ntwo\n").replace("\n19\n", "\n19\nmore\n");
        assert_eq!(
            unified(&old, &new),
            "--- as it is\n+++ meshed\n@@ -1,5 +1,5 @@\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -17,4 +17,5 @@\n 17\n 18\n 19\n+more\n 20\n"
        );
    }

    #[test]
    fn from_nothing_and_to_nothing() {
        assert_eq!(unified("", "a\n"), "--- as it is\n+++ meshed\n@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(unified("a\n", ""), "--- as it is\n+++ meshed\n@@ -1,1 +0,0 @@\n-a\n");
    }
}
