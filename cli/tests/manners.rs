//! What every command owes its user: help with an example, a manual page, completions, exit codes.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::process::{Command, Output, Stdio};

fn outrigger(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    let Output { status, stdout, stderr } = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The commands below `path`, as its help lists them.
fn commands(path: &[&str]) -> Vec<String> {
    let help = outrigger(&[path, &["--help"]].concat()).1;
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| !line.is_empty());
    let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// Every command that does something, as the words after `outrigger`.
fn leaves(path: &[&str]) -> Vec<Vec<String>> {
    let below = commands(path);
    if below.is_empty() {
        return vec![path.iter().map(|word| (*word).to_owned()).collect()];
    }
    below.iter().flat_map(|name| leaves(&[path, &[name.as_str()]].concat())).collect()
}

#[test]
fn every_command_teaches_by_an_example_and_has_a_page() {
    let directory = std::env::temp_dir().join(format!("outrigger-man-{}", std::process::id()));
    let (code, _, complaint) = outrigger(&["man", "--directory", directory.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{complaint}");
    let leaves = leaves(&[]);
    assert!(leaves.contains(&vec!["status".to_owned()]), "{leaves:?}");
    for words in leaves {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, help, _) = outrigger(&[&words[..], &["--help"]].concat());
        assert_eq!(code, Some(0));
        let example = help.split_once("Example").map(|(_, examples)| examples.to_owned());
        let example =
            example.unwrap_or_else(|| panic!("`outrigger {} --help` shows no example", words.join(" ")));
        assert!(example.contains(&format!("outrigger {}", words.join(" "))), "{example}");
        let page = directory.join(format!("outrigger-{}.1", words.join("-")));
        let page =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = outrigger(&["completions", shell]);
        assert_eq!(code, Some(0));
        for name in commands(&[]) {
            assert!(script.contains(&name), "{shell}: {name}");
        }
    }
}

#[test]
fn bad_usage_is_64_and_says_what_is_meant() {
    for (words, hint) in [
        (&["statsu"][..], "status"),
        (&["status", "--jsn"], "--json"),
        (&["status", "--color", "red"], "always"),
        (&["status", "--controller", "ftp://x"], "write http://HOST:PORT"),
        (&[], "Usage"),
    ] {
        let (code, out, complaint) = outrigger(words);
        assert_eq!(code, Some(64), "{words:?}");
        assert!(out.is_empty() && complaint.contains(hint), "{words:?}: {complaint}");
    }
}
