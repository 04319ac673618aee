use super::*;

fn drawn(text: &str) -> String {
    let faults = match Mesh::read(text, "mesh.yaml") {
        Ok(mesh) => mesh.warnings().to_vec(),
        Err(faults) => faults,
    };
    draw::file(&Checked { name: "mesh.yaml".into(), text: text.into(), faults, services: 0 }, false)
}

#[test]
fn a_fault_is_drawn_with_its_line() {
    let text = "mode: strict\nservices:\n  cart:\n    timeuot: 2s\n    mode: strickt # typo\n";
    assert_eq!(
        drawn(text),
        r#"error[unknown-key]: "timeuot" is not a key here
 --> mesh.yaml:4:5
  |
4 |     timeuot: 2s
  |     ^^^^^^^
  = key: services.cart.timeuot
  = help: did you mean timeout?

error[bad-value]: "strickt" is not known here
 --> mesh.yaml:5:11
  |
5 |     mode: strickt # typo
  |           ^^^^^^^
  = key: services.cart.mode
  = help: did you mean strict? write permissive or strict

mesh.yaml: 2 errors
"#
    );
}

#[test]
fn the_other_place_is_named() {
    let drawn = drawn("mode: strict\nmode: strict\n");
    assert!(drawn.contains("= note: see mesh.yaml:1:1"), "{drawn}");
}

#[test]
fn carets_stand_under_what_they_mean() {
    for (text, caret) in [
        ("services: { äöü: { mode: x } }", "x"),
        ("# \u{202e}\nservices: { \"\u{202e}\": {}, cart: { mode: y } }", "y"),
        ("\u{feff}mode: z", "z"),
    ] {
        let drawn = drawn(text);
        let lines: Vec<&str> = drawn.lines().collect();
        let carets = lines.iter().rposition(|line| line.contains('^')).unwrap();
        let column = lines[carets].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[carets - 1].chars().nth(column).unwrap().to_string(), caret, "{drawn}");
        assert!(!drawn.contains('\u{202e}'));
    }
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let entries: String = (1..200).map(|n| format!("s{n}: {{ timeout: 1s }}, ")).collect();
    let drawn = drawn(&format!("services: {{ {entries} x: {{ mode: q }} }}"));
    let line = drawn.lines().find(|line| line.contains("mode: q")).unwrap();
    assert!(line.chars().count() < 130, "{line}");
}

#[test]
fn warnings_are_good() {
    let drawn = drawn("services: { cart: { capture: names, upstreams: [ \"web:80\" ] } }");
    assert!(drawn.ends_with("mesh.yaml: good, 1 warning\n"), "{drawn}");
}
