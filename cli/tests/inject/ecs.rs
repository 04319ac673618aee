//! `outrigger inject ecs`: what is printed, what is said beside it, exit codes. What comes out is the crate's business, whose
//! golden files are used here.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::place::{Ended, Place};

/// The image of the golden files.
const IMAGE: &str = concat!("outrigger-sidecar:", env!("CARGO_PKG_VERSION"));
const PIN: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn golden(case: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject/tests/ecs").join(case).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn place(case: &str) -> Place {
    Place::new(&[("task.json", &golden(case, "task.json"))])
}

fn outrigger() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_outrigger"))
}

fn ecs(place: &Place, words: &[&str]) -> Ended {
    place.run(&outrigger(), &[&["inject", "ecs"], words].concat())
}

#[test]
fn the_meshed_definition_is_printed_and_nothing_else() {
    let place = place("fargate-service");
    let ended = ecs(&place, &["task.json", "--pin", PIN, "--image", IMAGE]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(ended.out, golden("fargate-service", "meshed.json"));
    let piped = format!("cat task.json | {} inject ecs - --pin {PIN} --image {IMAGE}", outrigger().display());
    assert_eq!(place.run(Path::new("/bin/sh"), &["-c", &piped]).out, ended.out);
}

#[test]
fn every_option_is_passed_on() {
    for (case, words) in [
        ("resources-add", &["--resources", "add"][..]),
        ("resources-subtract", &["--resources", "subtract"]),
        ("fargate-client-zone", &["--names", "zone"]),
        ("app-mesh", &["--replace-app-mesh"]),
        ("ec2-socket", &["--control", "/run/outrigger"]),
    ] {
        let place = place(case);
        let ended = ecs(&place, &[&["task.json", "--pin", PIN], words].concat());
        assert_eq!((ended.code, ended.out), (Some(0), golden(case, "meshed.json")), "{case}: {}", ended.err);
    }
    let place = place("fargate-service");
    place.write("look/sidecar-hosts.json", r#"{ "essential": true, "user": "0:0", "stopTimeout": 77 }"#);
    place.write("mesh.yaml", "services: { cart.shop: { capture: explicit } }\n");
    let looks = ["--templates", "look", "--image", "mine:1", "--control", "https://10.0.0.1:1"];
    let ended = ecs(&place, &[&["task.json", "--pin", PIN], &looks[..]].concat());
    for part in ["\"stopTimeout\": 77", "\"image\": \"mine:1\"", "https://10.0.0.1:1", PIN] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    let capture = |cluster: &str| {
        let words = ["task.json", "--pin", PIN, "--mesh-file", "mesh.yaml", "--json", "--cluster", cluster];
        let answer: Value = serde_json::from_str(&ecs(&place, &words).out).unwrap();
        answer["capture"].as_str().unwrap().to_owned()
    };
    assert_eq!(capture("arn:aws:ecs:eu-west-1:111122223333:cluster/shop"), "explicit");
    assert_eq!(capture("other"), "platform");
}

#[test]
fn every_refusal_is_listed_and_nothing_is_written() {
    let place = place("reserved-port");
    let ended = ecs(&place, &["task.json", "--output", "meshed.json"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(64), ""));
    assert!(ended.err.matches("refused: ").count() >= 2, "{}", ended.err);
    assert!(ended.err.contains("--pin") && ended.err.contains("is the sidecar's"), "{}", ended.err);
    assert_eq!(place.names(), ["task.json"]);
    let answer: Value = serde_json::from_str(&ecs(&place, &["task.json", "--json"]).out).unwrap();
    assert!(answer["refusals"].as_array().unwrap().len() >= 2, "{answer}");
    assert!(answer["definition"].is_null() && answer["changed"] == false && answer.get("meshed").is_none());
}

#[test]
fn warnings_stand_beside_the_result() {
    let place = place("firelens");
    let ended = ecs(&place, &["task.json", "--pin", PIN, "--image", IMAGE]);
    assert_eq!(ended.out, golden("firelens", "meshed.json"));
    assert!(ended.err.starts_with("warning: "), "{}", ended.err);
    // ECS cannot pull an image of this machine.
    let unsaid = ecs(&place, &["task.json", "--pin", PIN]);
    assert!(unsaid.out == ended.out && unsaid.err.contains("name it in --image"), "{}", unsaid.err);
}

#[test]
fn the_way_there_is_shown_and_the_way_back_is_exact() {
    let place = place("resources-add");
    let add = ["--pin", PIN, "--resources", "add"];
    let diff = ecs(&place, &[&["task.json", "--diff"], &add[..]].concat());
    assert_eq!(diff.code, Some(0));
    assert!(diff.out.contains("+      \"name\": \"outrigger-sidecar\""), "{}", diff.out);
    assert!(diff.out.contains("-  \"cpu\": \"256\""), "{}", diff.out);
    let made = ecs(&place, &[&["task.json", "--output", "meshed.json"], &add[..]].concat());
    assert_eq!((made.code, made.out.as_str()), (Some(0), ""));
    assert!(made.err.contains("capture platform; written to meshed.json"), "{}", made.err);
    let back = ecs(&place, &["meshed.json", "--remove"]);
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(json(&back.out), json(&place.read("task.json")));
}

#[test]
fn a_check_tells_by_its_exit_code() {
    let place = place("fargate-service");
    let check = |file: &str, words: &[&str]| {
        let ended = ecs(&place, &[&[file, "--check"], words].concat());
        assert_eq!(ended.out, "", "nothing but the code, and why");
        (ended.code, ended.err)
    };
    let (code, why) = check("task.json", &["--pin", PIN]);
    assert!(code == Some(1) && why.contains("it is not meshed as it would be now"), "{why}");
    // As ECS answers it: with its defaults written out.
    let meshed = golden("fargate-service", "meshed.json");
    let answered =
        meshed.replace("\"containerPort\": 15008,", "\"containerPort\": 15008, \"hostPort\": 15008,");
    let answered =
        answered.replace("\"name\": \"app\",", "\"name\": \"app\", \"cpu\": 0, \"mountPoints\": [],");
    assert_ne!(answered, meshed);
    place.write("meshed.json", &format!("{{ \"taskDefinition\": {answered} }}"));
    assert_eq!(check("meshed.json", &["--pin", PIN, "--image", IMAGE]), (Some(0), String::new()));
    assert_eq!(check("meshed.json", &["--pin", PIN, "--image", "newer"]).0, Some(1));
    assert_eq!(check("meshed.json", &["--remove"]).0, Some(1));
    assert_eq!(check("task.json", &["--remove"]).0, Some(0));
}

#[test]
fn bad_usage_is_64() {
    let place = place("fargate-service");
    place.write("text.json", "family: cart\n");
    place.write("list.json", "[]");
    for (words, hint) in [
        (&["nowhere.json"][..], "nowhere.json"),
        (&["text.json", "--pin", PIN], "describe-task-definition"),
        (&["list.json", "--pin", PIN], "not a task definition"),
        (&["task.json", "--remove", "--pin", PIN], "cannot be used with"),
        (&["task.json", "--resources", "much"], "subtract"),
        (&["task.json", "--templates", "nowhere"], "no such directory"),
        (&["task.json", "--control", "http://a"], "https://HOST:PORT"),
        (&[], "FILE"),
    ] {
        let ended = ecs(&place, words);
        assert_eq!(ended.code, Some(64), "{words:?}: {}", ended.err);
        assert!(ended.err.contains(hint) && ended.out.is_empty(), "{words:?}: {}", ended.err);
    }
}
