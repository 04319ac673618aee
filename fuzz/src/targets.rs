//! What must hold for any bytes. A target panics where it does not.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_model::label::{self, Fault};
use outrigger_model::mesh::{Mesh, Origin, Severity};
use outrigger_model::{Mode, ServiceKey};

/// Reads the bytes as a mesh file: a mesh whose print is that mesh, or faults that people and programs can read.
pub fn mesh_file(bytes: &[u8]) {
    match Mesh::read_bytes(bytes, "mesh.yaml") {
        Ok(mesh) => {
            readable(mesh.warnings());
            let printed = mesh.to_string();
            let again =
                Mesh::read(&printed, "again.yaml").unwrap_or_else(|faults| panic!("{printed}\n{faults:?}"));
            assert_eq!(mesh, again, "{printed}");
        }
        Err(faults) => {
            assert!(faults.iter().any(|fault| fault.severity == Severity::Error), "{faults:?}");
            readable(&faults);
        }
    }
}

/// Reads the bytes as labels, `name=value` on each line, and joins them with a mesh file that demands strict: whatever
/// they say, it stays strict, and no port but the published one becomes an edge.
pub fn labels(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let labels: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let read = label::read(&labels);
    readable(&read.faults);
    let strict = Mesh::read("mode: strict", "mesh.yaml").unwrap_or_else(|faults| panic!("{faults:?}"));
    let key = ServiceKey { namespace: "shop".to_owned(), service: "cart".to_owned() };
    let published = BTreeSet::from([443]);
    let (declared, faults) = strict.declare(&key, &read, &published);
    readable(&faults);
    assert_eq!(declared.mode, Mode::Strict, "{labels:?}");
    assert!(declared.edge.is_none_or(|edge| edge.is_subset(&published)), "{labels:?}");
    let without = label::parse(&labels, "cart");
    assert!(without.is_ok() || !faults.is_empty(), "{labels:?}");
}

/// One line each, with a place, and JSON for programs.
fn readable(faults: &[Fault]) {
    for fault in faults {
        let line = fault.to_string();
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(line.len() < 4096, "{line}");
        if let Origin::File { line, column, .. } = fault.origin {
            assert!(line > 0 && column > 0, "{fault:?}");
        }
        serde_json::to_string(fault).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }
}
