//! The difference between a project and its meshed form, as an overlay for compose v2 and later.

use serde_yaml::Value;
use serde_yaml::value::{Tag, TaggedValue};

/// Takes away what an earlier file says (compose 2.18 and later).
const RESET: &str = "reset";
/// Replaces what an earlier file says, where compose would join the two (2.24.4 and later).
const OVERRIDE: &str = "override";

/// What must be merged over `base` to have `meshed`; none: nothing.
pub fn overlay(base: &Value, meshed: &Value) -> Option<Value> {
    match (base, meshed) {
        (base, meshed) if base == meshed => None,
        (Value::Mapping(old), Value::Mapping(new)) => {
            let mut fields = serde_yaml::Mapping::new();
            for (key, value) in new {
                let change = match old.get(key) {
                    None => Some(value.clone()),
                    Some(old) => overlay(old, value),
                };
                fields.extend(change.map(|change| (key.clone(), change)));
            }
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                fields.insert(key.clone(), tagged(RESET, Value::Null));
            }
            Some(Value::Mapping(fields))
        }
        (Value::Null, new) => Some(new.clone()),
        (_, Value::Mapping(_) | Value::Sequence(_)) => Some(tagged(OVERRIDE, meshed.clone())),
        (_, scalar) => Some(scalar.clone()),
    }
}

fn tagged(tag: &str, value: Value) -> Value {
    Value::Tagged(Box::new(TaggedValue { tag: Tag::new(tag), value }))
}
