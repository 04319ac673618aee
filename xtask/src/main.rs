//! `cargo xtask demo`, `test`, `bench`, `fuzz`, `images`: the project's chores, on a fresh machine too.

mod bench;
mod compose;
mod demo;
mod engine;
mod fuzz;
mod images;
mod python;
mod rings;
mod run;
mod say;
mod shop;
mod sources;

use std::process::ExitCode;

use crate::run::Fault;

/// Exit code for bad usage (EX_USAGE of sysexits.h).
const USAGE: u8 = 64;

const HELP: &str = "\
cargo xtask <command>

  demo            builds everything, starts the shop with the mesh, drives traffic, shows what the
                  mesh saw, takes it down again
      --keep      leaves it up and says where it listens and what to try
      --unmeshed  the same shop without the mesh
      --down      takes down what --keep, or Ctrl-C, left
  test [ring...]  everything the project promises; exit code 0 only if all of it holds
      check       rustfmt, clippy, cargo deny (where installed)
      unit        unit, golden and in-process tests: no root, no Docker
      docker      the tests marked #[ignore]: they need root and a Docker engine
  bench           speed and size beside nginx, HAProxy and Envoy, printed (`bench --help`)
  fuzz [target...]  readers of bytes from outside under libFuzzer (nightly): mesh-file, labels
      --seconds N for each target; 60 where not said
  images          builds outrigger-sidecar and outrigger-controller
      --release   optimised, as released
      --all       the base, the shop and the test applications as well
      --tag NAME  under this tag; OUTRIGGER_TEST_TAG=NAME has the Docker tests use it, so that
                  several checkouts can share one engine

A first run needs some ten minutes, the next about one. As root on Debian a missing Docker is
installed, started, and stopped again at the end; elsewhere Docker with compose must be there.
No image registry? One base image is made from Debian packages (OUTRIGGER_IMAGES=debian or
public decides by hand). Logs of every command: target/xtask/log/.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("bench", rest)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return match bench::run(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("xtask: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["help" | "--help" | "-h", ..] | [_, "--help" | "-h", ..] => {
            print!("{HELP}");
            Ok(true)
        }
        ["demo", rest @ ..] => match demo::Options::read(rest) {
            Some(options) => demo::run(options).map(|()| true),
            None => return usage(&words),
        },
        ["test", names @ ..] => match rings::Ring::read(names) {
            Some(rings) => rings::run(&rings),
            None => return usage(&words),
        },
        ["fuzz", rest @ ..] => match fuzz::Options::read(rest) {
            Some(options) => fuzz::run(&options).map(|()| true),
            None => return usage(&words),
        },
        ["images", rest @ ..] => match Images::read(rest) {
            Some(images) => images.build().map(|()| true),
            None => return usage(&words),
        },
        _ => return usage(&words),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// Which images are built, and under which tag.
#[derive(Default)]
struct Images<'a> {
    release: bool,
    all: bool,
    tag: Option<&'a str>,
}

impl<'a> Images<'a> {
    fn read(words: &[&'a str]) -> Option<Self> {
        let mut images = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--release" => images.release = true,
                "--all" => images.all = true,
                "--tag" => images.tag = Some(words.next()?),
                _ => return None,
            }
        }
        Some(images)
    }

    fn build(&self) -> Result<(), Fault> {
        let engine = engine::Engine::ensure()?;
        images::tagged(&engine, self.release, self.tag.unwrap_or(images::VERSION))?;
        if self.all {
            let base = sources::Sources::ensure(&engine)?;
            shop::Shop::new(&engine, &base, false)?.build()?;
            images::test_apps(&engine, &base)?;
        }
        Ok(())
    }
}

fn usage(words: &[&str]) -> ExitCode {
    eprintln!("cargo xtask {}: not known. This is:\n\n{HELP}", words.join(" "));
    ExitCode::from(USAGE)
}
