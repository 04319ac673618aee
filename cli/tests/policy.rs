//! `outrigger iam-policy`: golden files in `tests/policy`, and every action of them against the calls in the controller's source.
//! `UPDATE_GOLDEN=1 cargo test -p outrigger-cli --test policy` writes the files anew; the diff is the review.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "all of it is a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const SHOP: &str = "arn:aws:ecs:eu-west-1:111122223333:cluster/shop";
const ROLES: &str = "arn:aws:iam::111122223333:role/cart,arn:aws:iam::111122223333:role/execution";

/// All that can be asked for.
const ALL: [&str; 13] = [
    "--cluster",
    SHOP,
    "--queue",
    "outrigger",
    "--zone",
    "Z01",
    "--edge-zone",
    "Z02",
    "--cloud-map",
    "shop.internal",
    "--inject",
    "--pass-role",
    ROLES,
];

fn policy(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    let Output { status, stdout, stderr } = command.arg("iam-policy").args(words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_policy_is_the_golden_one() {
    for (name, words) in [
        ("look", &["--cluster", "shop,batch", "--account", "111122223333", "--region", "eu-west-1"][..]),
        ("all", &ALL),
        ("outside", &["--cluster", SHOP, "--cloud-map", "shop.internal,legacy"]),
        ("china", &["--cluster", "shop", "--account", "111122223333", "--region", "cn-north-1", "--inject"]),
    ] {
        let (code, found, said) = policy(words);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.contains("--pass-role"), name == "china", "{said}");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy").join(format!("{name}.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &found).unwrap();
        }
        let wanted = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(found, wanted, "{}: run again with UPDATE_GOLDEN=1 and review the diff", file.display());
    }
}

#[test]
fn bad_usage_is_64() {
    for (words, hint) in [
        (&["--cluster", "shop"][..], "--region"),
        (&["--cluster", "shop", "--region", "eu-west-1"], "--account"),
        (&["--cluster", "shop", "--region", "eu-west-1", "--account", "1"], "12 digits"),
        (&["--cluster", SHOP, "--region", "eu-west-2"], "a policy is for one"),
        (&["--cluster", "arn:aws:ecs:x"], "cluster/NAME"),
        (&["--cluster", SHOP, "--inject", "--pass-role", "cart"], "ARN of a role"),
        (&["--cluster", SHOP, "--zone", "shop.internal"], "id of a hosted zone"),
        (&["--cluster", SHOP, "--edge-zone", "outside.internal"], "--edge-zone outside.internal"),
        (&["--cluster", SHOP, "--pass-role", ROLES], "--inject"),
        (&[], "--cluster"),
    ] {
        let (code, out, said) = policy(words);
        assert_eq!((code, out.as_str()), (Some(64), ""), "{words:?}");
        assert!(said.contains(hint), "{words:?}: {said}");
    }
}

fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().unwrap();
    let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap());
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

/// `service:Operation` of every `.service.some_operation()` in the source; in a file with the service's name, of every
/// `.client.some_operation()`.
fn called(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            called(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
            for service in ["ecs", "sqs", "route53", "servicediscovery"] {
                let own = path.file_stem().is_some_and(|name| name == service);
                let field = if own { "client" } else { service };
                for rest in text.split(&format!(".{field}.")).skip(1) {
                    let name: String =
                        rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                    if rest[name.len()..].starts_with("()") && !["config", "clone"].contains(&&*name) {
                        found.insert(format!("{service}:{}", camel(&name)));
                    }
                }
            }
        }
    }
}

fn camel(name: &str) -> String {
    let words = name.split('_').map(|word| word[..1].to_ascii_uppercase() + &word[1..]);
    words.collect::<String>()
}

#[test]
fn every_call_is_allowed_and_nothing_else_is() {
    let mut calls = BTreeSet::new();
    called(&root().join("controller/src"), &mut calls);
    assert!(calls.contains("ecs:UpdateService") && calls.len() > 8, "{calls:?}");
    // The batch has the permission of the single call (Service Authorization Reference, Amazon SQS).
    if calls.remove("sqs:DeleteMessageBatch") {
        calls.insert("sqs:DeleteMessage".into());
    }
    // Not calls of their own: registering with tags needs the one, registering with roles the other.
    calls.extend(["ecs:TagResource".to_owned(), "iam:PassRole".to_owned()]);
    let all = policy(&ALL).1;
    assert_eq!(actions(&serde_json::from_str(&all).unwrap()), calls);
}
