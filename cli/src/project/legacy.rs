//! What `config` of docker-compose 1.29 prints and it cannot read itself.

use outrigger_inject::compose::Value;

/// Writes every published range of ports in the short form: 1.29 splits `8080-8082:80` into fields, of which it takes
/// only a whole number for `published`.
pub fn readable(project: &mut Value) {
    let services = project.get_mut("services").and_then(Value::as_mapping_mut);
    for service in services.into_iter().flat_map(|services| services.values_mut()) {
        let ports = service.get_mut("ports").and_then(Value::as_sequence_mut);
        for port in ports.into_iter().flatten() {
            if let Some(short) = short(port) {
                *port = short.into();
            }
        }
    }
}

fn short(port: &Value) -> Option<String> {
    let published = port.get("published")?.as_str().filter(|published| published.contains('-'))?;
    let target = port.get("target")?;
    let target =
        target.as_u64().map_or_else(|| target.as_str().map(str::to_owned), |n| Some(n.to_string()))?;
    let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("tcp");
    Some(format!("{published}:{target}/{protocol}"))
}

#[cfg(test)]
mod tests {
    use outrigger_inject::compose::{read, render};

    #[test]
    fn a_range_is_written_short_and_nothing_else() {
        let mut project = read(
            "services: { web: { ports: [ { published: 8080-8082, target: 80, protocol: udp }, { published: 22, target: 22 }, '90' ] }, x: {} }",
        )
        .unwrap();
        super::readable(&mut project);
        let text = render(&project);
        assert!(text.contains("- \"8080-8082:80/udp\"\n"), "{text}");
        assert!(text.contains("- published: 22\n        target: 22\n      - \"90\"\n"), "{text}");
    }
}
