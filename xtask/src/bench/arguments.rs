//! What can be written after `cargo xtask bench`.

use std::path::PathBuf;

use super::{Outcome, PARTS};

const USAGE: &str = "usage: cargo xtask bench [--only PART]... [--quick] [--json FILE] [--seconds N] [--rounds N] [--sidecar FILE]
  --only PART     only this part of the table; may be said again
  --quick         one round of one second each, nothing with Docker: to see that it works
  --json FILE     write the figures there as well
  --seconds N     length of one measurement, 1 to 60 (default 3)
  --rounds N      measurements of each, of which the median counts, 1 to 20 (default 3)
  --sidecar FILE  measure this binary instead of building one
  --skip-docker   leave out what needs a Docker engine
  --instructions  count instructions by request instead, under valgrind
parts:";

/// The arguments.
pub struct Arguments {
    pub json: Option<PathBuf>,
    pub seconds: u64,
    pub rounds: usize,
    pub sidecar: Option<PathBuf>,
    docker: bool,
    only: Vec<String>,
}

impl Arguments {
    /// Reads them.
    ///
    /// # Errors
    /// An unknown argument, an unknown part, or a number out of range; the text is the usage.
    pub fn parse(words: &[String]) -> Outcome<Self> {
        let mut found = Self { json: None, seconds: 3, rounds: 3, sidecar: None, docker: true, only: vec![] };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => (found.docker, found.seconds, found.rounds) = (false, 1, 1),
                "--skip-docker" => found.docker = false,
                "--json" => found.json = Some(words.next().ok_or_else(usage)?.into()),
                "--seconds" => found.seconds = number(words.next(), 60)?,
                "--rounds" => found.rounds = number(words.next(), 20)? as usize,
                "--sidecar" => found.sidecar = Some(words.next().ok_or_else(usage)?.into()),
                "--only" => found.only.push(part(words.next())?),
                _ => return Err(usage()),
            }
        }
        Ok(found)
    }

    /// Whether this part is measured.
    pub fn wants(&self, part: &str) -> bool {
        let asked = self.only.iter().any(|only| only == part);
        asked || self.only.is_empty() && (self.docker || part != "docker")
    }
}

fn usage() -> String {
    let parts = PARTS.iter().map(|(key, title)| format!("  {key:<15} {title}"));
    format!("{USAGE}\n{}", parts.collect::<Vec<_>>().join("\n"))
}

fn part(word: Option<&String>) -> Outcome<String> {
    let known = word.filter(|word| PARTS.iter().any(|(key, _)| key == word));
    known.cloned().ok_or_else(usage)
}

fn number(word: Option<&String>, most: u64) -> Outcome<u64> {
    let number = word.and_then(|word| word.parse().ok());
    number.filter(|number| (1..=most).contains(number)).ok_or_else(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Outcome<Arguments> {
        Arguments::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn parts_are_chosen_by_name_and_an_unknown_one_lists_them() {
        let all = parse(&["--skip-docker"]).unwrap();
        assert!(all.wants("tcp") && !all.wants("docker"));
        let some = parse(&["--quick", "--only", "tcp", "--only", "docker"]).unwrap();
        assert!(some.wants("tcp") && some.wants("docker") && !some.wants("idle"));
        let usage = parse(&["--only", "speed"]).err().unwrap();
        assert!(PARTS.iter().all(|(part, _)| usage.contains(part)), "{usage}");
    }

    #[test]
    fn the_manual_explains_every_part() {
        let manual = include_str!("../../../docs/benchmarks.md");
        for (part, _) in PARTS {
            assert!(manual.contains(&format!("`{part}`")), "docs/benchmarks.md says nothing of {part}");
        }
    }
}
