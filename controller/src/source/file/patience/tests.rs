use super::*;

const STRICT: &str = "mode: strict\n";

fn text(text: &str) -> Found {
    Found::Text(text.into())
}

fn at(ms: u64) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now) + Duration::from_millis(ms)
}

/// A follower that believes `STRICT`.
fn strict() -> Patience {
    let mut patience = Patience::new("mesh.yaml".into());
    assert!(patience.see(text(STRICT), true, at(0)).is_some());
    patience
}

#[test]
fn a_whole_good_text_is_believed_at_once() {
    let mut patience = strict();
    assert_eq!(patience.see(text(STRICT), true, at(1)), None, "nothing new");
    let taken = patience.see(text("mode: permissive\n"), true, at(2)).unwrap();
    assert_eq!(taken.mesh.unwrap().unwrap().mode(), outrigger_model::Mode::Permissive);
}

#[test]
fn a_text_that_nobody_called_whole_must_stay() {
    let mut patience = strict();
    assert_eq!(patience.see(text("mode: permissive\n"), false, at(0)), None);
    assert_eq!(patience.until(), Some(at(50)));
    assert_eq!(patience.see(text("mode: permissive\n# more"), false, at(49)), None, "it still grew");
    assert_eq!(patience.see(text("mode: permissive\n# more"), false, at(98)), None);
    assert!(patience.see(text("mode: permissive\n# more"), false, at(99)).is_some());
}

#[test]
fn half_a_save_never_shows() {
    let mut patience = strict();
    for (half, patient_for) in [("", 249), ("# a comment\n", 249), ("mode: str", 49)] {
        assert_eq!(patience.see(text(half), true, at(0)), None, "{half:?}");
        assert_eq!(patience.see(text(half), true, at(patient_for)), None, "{half:?}");
        assert_eq!(patience.see(text(STRICT), false, at(patient_for)), None, "what was believed all along");
        assert_eq!(patience.until(), None);
    }
    assert_eq!(patience.see(Found::Nothing, false, at(0)), None, "moved away by an editor");
    assert_eq!(patience.see(Found::Nothing, false, at(999)), None);
    assert!(patience.see(text("mode: permissive\n"), true, at(999)).is_some(), "and written anew");
}

#[test]
fn what_stays_is_believed_whatever_it_is() {
    let mut patience = strict();
    for (found, after) in [
        (text("mode: str"), 50),
        (text(""), 250),
        (Found::Nothing, 1_000),
        (Found::Unusable("x".into()), 1_000),
    ] {
        assert_eq!(patience.see(found.clone(), false, at(0)), None, "{found:?}");
        let reading = patience.see(found.clone(), false, at(after)).unwrap();
        assert_eq!(reading.found, found);
    }
}

#[test]
fn at_the_start_nothing_is_waited_for_that_is_not_there() {
    for found in [Found::Nothing, Found::NoFolder, Found::Unusable("x".into()), text("")] {
        assert!(Patience::new("mesh.yaml".into()).see(found.clone(), true, at(0)).is_some(), "{found:?}");
    }
    let mut bad = Patience::new("mesh.yaml".into());
    assert_eq!(bad.see(text("mode: str"), true, at(0)), None);
    assert!(bad.see(text("mode: str"), true, at(50)).is_some());
}

#[test]
fn what_was_doubted_is_forgotten_while_somebody_writes() {
    let mut patience = strict();
    assert_eq!(patience.see(text(""), false, at(0)), None);
    patience.writing();
    assert_eq!(patience.until(), None);
    assert_eq!(patience.see(text(""), false, at(300)), None, "its time begins anew");
}
