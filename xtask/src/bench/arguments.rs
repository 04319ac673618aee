//! What can be written after `cargo xtask bench`.

use std::path::PathBuf;

use super::Outcome;

const USAGE: &str = "usage: cargo xtask bench [--json] [--seconds N] [--rounds N] [--sidecar FILE] [--only-hops] [--skip-docker]
  --json          print JSON instead of the table, as the last line
  --seconds N     length of one measurement, 1 to 60 (default 5)
  --rounds N      measurements of each, of which the median counts, 1 to 20 (default 3)
  --sidecar FILE  measure this binary instead of building one
  --only-hops     only CPU per request
  --skip-docker   leave out what needs a Docker engine";

/// The arguments.
pub struct Arguments {
    pub json: bool,
    pub seconds: u64,
    pub rounds: usize,
    pub sidecar: Option<PathBuf>,
    pub only_hops: bool,
    pub docker: bool,
}

impl Arguments {
    /// Reads them.
    ///
    /// # Errors
    /// An unknown argument or a number out of range; the text is the usage.
    pub fn parse(words: &[String]) -> Outcome<Self> {
        let mut found =
            Self { json: false, seconds: 5, rounds: 3, sidecar: None, only_hops: false, docker: true };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => found.json = true,
                "--only-hops" => found.only_hops = true,
                "--skip-docker" => found.docker = false,
                "--seconds" => found.seconds = number(words.next(), 60)?,
                "--rounds" => found.rounds = number(words.next(), 20)? as usize,
                "--sidecar" => found.sidecar = Some(words.next().ok_or(USAGE)?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(found)
    }
}

fn number(word: Option<&String>, most: u64) -> Outcome<u64> {
    let number = word.and_then(|word| word.parse().ok());
    number.filter(|number| (1..=most).contains(number)).ok_or_else(|| USAGE.into())
}
