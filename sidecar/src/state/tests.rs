use std::os::unix::fs::PermissionsExt;

use super::*;

fn fresh(name: &str) -> State {
    let directory = std::env::temp_dir().join(format!("outrigger-state-{name}-{}", std::process::id()));
    let _absent = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    State::new(directory)
}

#[test]
fn a_written_file_is_private_whole_and_alone() {
    let state = fresh("write");
    assert!(state.read("a").unwrap().is_none());
    state.write("a", b"old").unwrap();
    state.write("a", b"new").unwrap();
    assert_eq!(state.read("a").unwrap().unwrap(), b"new");
    assert_eq!(fs::metadata(state.path("a")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(state.path("")).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_leftover_of_a_crash_is_not_in_the_way() {
    let state = fresh("leftover");
    fs::write(state.path(".a.new"), b"half").unwrap();
    state.write("a", b"whole").unwrap();
    assert_eq!(state.read("a").unwrap().unwrap(), b"whole");
}

#[test]
fn a_missing_directory_is_empty_and_refuses_writes_by_name() {
    let state = State::new("/nonexistent/outrigger");
    assert!(state.read("a").unwrap().is_none());
    let error = state.write("a", b"x").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/outrigger/a"), "{error}");
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    let state = fresh("long");
    File::create(state.path("a")).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert!(matches!(state.read("a"), Err(StateError::Long { .. })));
}

#[test]
fn a_corrupt_file_can_be_looked_at_beside() {
    let state = fresh("aside");
    state.write("a", b"?").unwrap();
    let aside = state.set_aside("a").unwrap();
    assert_eq!(fs::read(aside).unwrap(), b"?");
    assert!(state.read("a").unwrap().is_none());
}
