//! The JSON Schema and the reader agree, on a validator that is not ours.

use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use outrigger_model::Mesh;
use outrigger_model::mesh::{Code, Fault, SECTION, Severity, table};
use serde_json::Value;

/// What the reader refuses and a schema cannot: how long a time is, what is no JSON tree (a key twice, two documents),
/// what of YAML is not used, which keys do not go together, which patterns can be tried.
const BEYOND: [Code; 6] =
    [Code::OutOfRange, Code::DuplicateKey, Code::Syntax, Code::TooLarge, Code::Conflict, Code::BadPattern];

struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.enable_format_assertions();
        compiler.add_resource("mesh.json", outrigger_model::mesh::schema()).unwrap();
        let index = compiler.compile("mesh.json", &mut schemas);
        let index = index.unwrap_or_else(|error| panic!("no JSON Schema: {error:#}"));
        Self(schemas, index)
    }

    fn accepts(&self, json: &Value) -> Result<(), String> {
        self.0.validate(json, self.1).map_err(|error| format!("{error:#}"))
    }
}

/// As editors read it: YAML to JSON, keys as text. `None`: that cannot be done.
fn json(text: &str) -> Option<Value> {
    let yaml: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    tree(yaml)
}

fn tree(yaml: serde_yaml::Value) -> Option<Value> {
    Some(match yaml {
        serde_yaml::Value::Mapping(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| Some((name(&key)?, tree(value)?)))
                .collect::<Option<_>>()?,
        ),
        serde_yaml::Value::Sequence(items) => {
            Value::Array(items.into_iter().map(tree).collect::<Option<_>>()?)
        }
        serde_yaml::Value::Tagged(_) => return None,
        scalar => serde_json::to_value(scalar).ok()?,
    })
}

fn name(key: &serde_yaml::Value) -> Option<String> {
    match key {
        serde_yaml::Value::String(text) => Some(text.clone()),
        serde_yaml::Value::Number(number) => Some(number.to_string()),
        serde_yaml::Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

fn beyond(faults: &[Fault]) -> bool {
    faults.iter().all(|fault| fault.severity == Severity::Warning || BEYOND.contains(&fault.code))
}

fn agree(validator: &Validator, text: &str, what: &str) -> bool {
    let Some(json) = json(text) else { return false };
    match (Mesh::read(text, "mesh.yaml"), validator.accepts(&json)) {
        (Ok(_), Ok(())) | (Err(_), Err(_)) => true,
        (Ok(_), Err(error)) => panic!("{what}: the reader accepts, the schema does not: {error}\n{text}"),
        (Err(faults), Ok(())) if beyond(&faults) => false,
        (Err(faults), Ok(())) => {
            panic!("{what}: only the schema accepts: {}\n{text}", super::listed(&faults))
        }
    }
}

#[test]
fn schema_and_reader_agree_on_every_case() {
    let validator = Validator::new();
    let cases = super::cases();
    let same = cases
        .iter()
        .filter(|case| agree(&validator, &super::text(case), &case.display().to_string()))
        .count();
    assert!(same > cases.len() / 2, "{same} of {}", cases.len());
}

/// One line for each small thing that may be written, right and wrong.
#[test]
fn schema_and_reader_agree_on_every_value() {
    let validator = Validator::new();
    let values =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/values.txt"))
            .unwrap();
    let mut same = 0;
    for line in values.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        same += usize::from(agree(&validator, &format!("services: {{ cart: {{ {line} }} }}"), line));
        same += usize::from(agree(&validator, &format!("defaults: {{ {line} }}"), line));
    }
    assert!(same > 100, "{same}");
}

/// No key is read that the table does not have, and none is in the table that is not read: its example alone makes
/// another mesh than no file, and both reader and schema accept it.
#[test]
fn every_key_of_the_table_is_read() {
    let validator = Validator::new();
    let mut seen = 0;
    let mut todo = vec![(String::new(), String::new(), &SECTION)];
    while let Some((before, after, section)) = todo.pop() {
        for key in section.keys {
            let others = section
                .keys
                .iter()
                .filter(|other| other.default == table::REQUIRED && other.name != key.name);
            let mut others: String =
                others.map(|other| format!(", {}: {}", other.name, other.example)).collect();
            if key.name == "cloud-map" {
                others += ", ports: [ 80 ]";
            }
            let text = format!("{before}{{ {}: {}{others} }}{after}", key.name, key.example);
            let mesh =
                Mesh::read(&text, "mesh.yaml").unwrap_or_else(|faults| panic!("{}", super::listed(&faults)));
            assert_ne!(mesh, Mesh::default(), "{text} is read and changes nothing");
            assert_eq!(validator.accepts(&json(&text).unwrap()), Ok(()), "{text}");
            seen += 1;
            match key.kind {
                table::Kind::Section(inner) | table::Kind::TextOr(_, inner) => {
                    todo.push((format!("{before}{{ {}: ", key.name), format!("{others} }}{after}"), inner));
                }
                table::Kind::Services(inner) => {
                    todo.push((format!("{before}{{ {}: {{ x: ", key.name), format!(" }} }}{after}"), inner));
                }
                table::Kind::List(inner) => {
                    todo.push((
                        format!("{before}{{ {}: [ ", key.name),
                        format!(" ]{others} }}{after}"),
                        inner,
                    ));
                }
                _ => {}
            }
        }
    }
    assert!(seen >= 60, "{seen}");
}
