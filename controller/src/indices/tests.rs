use std::os::unix::fs::PermissionsExt;

use super::*;

fn key(service: &str) -> ServiceKey {
    ServiceKey { namespace: "shop".into(), service: service.into() }
}

fn keys(services: &[&str]) -> BTreeSet<ServiceKey> {
    services.iter().map(|service| key(service)).collect()
}

/// A directory of its own, gone with the value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outrigger-indices-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn an_index_stays_with_its_service_over_a_restart() {
    let directory = Directory::new("stay");
    let mut first = Indices::load(&directory.0);
    first.assign(&keys(&["web", "cart"]));
    assert_eq!(first.given()[&key("cart")].get(), 1);
    let mut second = Indices::load(&directory.0);
    second.assign(&keys(&["auth"]));
    assert_eq!((second.given()[&key("cart")].get(), second.given()[&key("auth")].get()), (1, 3));
    let mode = fs::metadata(directory.0.join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(second.problems().is_empty());
}

#[test]
fn a_corrupt_file_is_moved_aside_and_said_so() {
    let directory = Directory::new("corrupt");
    for bad in ["{", r#"{"shop/a": 1, "shop/b": 1}"#, r#"{"shop/a": 0}"#, r#"{"a": 1}"#] {
        fs::write(directory.0.join(FILE), bad).unwrap();
        let mut indices = Indices::load(&directory.0);
        let problem = indices.problems().first().unwrap().what.clone();
        assert!(problem.contains("indices.json.corrupt"), "{problem}");
        assert_eq!(fs::read_to_string(directory.0.join("indices.json.corrupt")).unwrap(), bad);
        indices.assign(&keys(&["web"]));
        assert!(!indices.unwritten());
    }
}

#[test]
fn what_cannot_be_written_is_kept_in_memory_and_tried_again() {
    let directory = Directory::new("full");
    let missing = directory.0.join("missing");
    let mut indices = Indices::load(&missing);
    indices.assign(&keys(&["web"]));
    assert!(indices.unwritten() && indices.given().len() == 1);
    assert!(indices.problems().first().unwrap().what.contains("only in memory"));
    fs::create_dir(&missing).unwrap();
    indices.assign(&keys(&["web"]));
    assert!(!indices.unwritten() && indices.problems().is_empty());
}
