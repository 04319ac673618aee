//! What people bring that is not quite a task definition as they wrote it.

use super::*;

fn options() -> Options {
    Options { pin: format!("sha256:{}", "00".repeat(32)), ..Options::default() }
}

fn given(more: &str) -> Value {
    let text = format!(
        r#"{{ "family": "cart", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
             "containerDefinitions": [ {{ "name": "app", "image": "shop/cart:1" {more} }} ] }}"#
    );
    read(&text).unwrap()
}

#[test]
fn tags_that_only_aws_may_set_are_left_out() {
    let mut outer = Mapping::new();
    outer.insert("taskDefinition".into(), given(""));
    let tag = |key: &str| serde_json::from_value(serde_json::json!({ "key": key, "value": "x" })).unwrap();
    let tags = ["aws:cloudformation:stack-name", "team", "AWS:x"].map(tag);
    outer.insert("tags".into(), Value::Sequence(tags.into()));
    let registered = registrable(&Value::Mapping(outer.clone())).unwrap();
    assert_eq!(registered["tags"], Value::Sequence(vec![tag("team")]));
    outer.insert("tags".into(), Value::Sequence(vec![tag("aws:x")]));
    assert_eq!(registrable(&Value::Mapping(outer)).unwrap().get("tags"), None);
    let mut body = given("");
    body["tags"] = Value::Sequence(Vec::new());
    assert_eq!(registrable(&body).unwrap()["tags"], body["tags"], "what somebody wrote stays");
}

#[test]
fn the_keys_of_cloudformation_are_named_as_such() {
    let template = read(r#"{ "Family": "cart", "ContainerDefinitions": [ { "Name": "app" } ] }"#).unwrap();
    let said = inject(&template, &options()).unwrap_err();
    assert!(said.len() == 1 && said[0].to_string().contains("CloudFormation"), "{said:?}");
}

#[test]
fn a_port_that_is_written_as_text_is_one() {
    let served = inject(&given(r#", "portMappings": [ { "containerPort": "8080" } ]"#), &options()).unwrap();
    assert_eq!(served.capture, Capture::Platform);
    assert_eq!(inject(&given(""), &options()).unwrap().capture, Capture::Names);
}

#[test]
fn what_waits_for_the_sidecar_already_waits_once() {
    let waits = r#", "dependsOn": [ { "containerName": "outrigger-sidecar", "condition": "HEALTHY" } ]"#;
    let injected = inject(&given(waits), &options()).unwrap().definition;
    assert_eq!(injected["containerDefinitions"][0]["dependsOn"].as_sequence().unwrap().len(), 1);
    assert_eq!(inject(&injected, &options()).unwrap().definition, injected);
}
