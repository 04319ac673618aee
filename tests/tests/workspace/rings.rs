//! Which tests of the Docker ring may run beside one that uses the engine.

use std::fs;

use super::root;

/// Modules of the ring's ECS tests that `.config/nextest.toml` runs beside a test that uses the engine.
fn beside() -> Vec<String> {
    let config = fs::read_to_string(root().join(".config/nextest.toml")).unwrap();
    let (_, rest) = config.split_once("test(/^ecs::(").unwrap();
    let (modules, _) = rest.split_once(")::/)").unwrap();
    modules.split('|').map(str::to_owned).collect()
}

#[test]
fn what_runs_beside_the_engine_needs_the_simulator_alone() {
    let beside = beside();
    assert!(beside.len() > 1, "{beside:?}");
    for module in beside {
        let path = format!("tests/tests/docker/ecs/{module}.rs");
        let source = fs::read_to_string(root().join(&path)).unwrap();
        let needs: Vec<&str> = source.lines().filter(|line| line.starts_with("#[ignore")).collect();
        assert!(!needs.is_empty(), "{path} has no test");
        for need in needs {
            assert!(
                need.contains("needs the simulator of ECS"),
                "{path}: a test that says {need} uses more than the simulator: move it to another file, or take {module} out \
                 of .config/nextest.toml"
            );
        }
    }
}
