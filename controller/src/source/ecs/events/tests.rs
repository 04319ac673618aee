use std::collections::BTreeMap;

use serde_json::json;

use super::*;

const ARN: &str = "arn:aws:ecs:us-west-2:111122223333:task/FargateCluster/c13b4cb40f1f4fe4a2971f76ae5a47ad";

/// The shape of the developer guide's sample of a Fargate task.
fn fargate() -> Value {
    json!({
        "version": "0",
        "id": "9bcdac79-b31f-4d3d-9410-fbd727c29fab",
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "account": "111122223333",
        "time": "2019-12-06T16:41:06Z",
        "region": "us-west-2",
        "resources": [ARN],
        "detail": {
            "attachments": [{
                "id": "1789bcae-ddfb-4d10-8ebe-8ac87ddba5b8",
                "type": "eni",
                "status": "ATTACHED",
                "details": [
                    { "name": "subnetId", "value": "subnet-abcd1234" },
                    { "name": "networkInterfaceId", "value": "eni-abcd1234" },
                    { "name": "macAddress", "value": "0a:98:eb:a7:29:ba" },
                    { "name": "privateIPv4Address", "value": "10.0.0.139" }
                ]
            }],
            "availabilityZone": "us-west-2c",
            "clusterArn": "arn:aws:ecs:us-west-2:111122223333:cluster/FargateCluster",
            "containers": [{
                "containerArn": "arn:aws:ecs:us-west-2:111122223333:container/cf159fd6",
                "lastStatus": "RUNNING",
                "name": "FargateApp",
                "image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/hello-repository:latest",
                "runtimeId": "ad64cbc71c7fb31c55507ec24c9f77947132b03d48d9961115cf24f3b7307e1e",
                "healthStatus": "HEALTHY",
                "networkInterfaces": [{
                    "attachmentId": "1789bcae-ddfb-4d10-8ebe-8ac87ddba5b8",
                    "privateIpv4Address": "10.0.0.139",
                    "ipv6Address": "2001:db8::139"
                }],
                "cpu": "0"
            }],
            "createdAt": "2019-12-06T16:41:03.203Z",
            "desiredStatus": "RUNNING",
            "group": "family:sample-fargate",
            "launchType": "FARGATE",
            "lastStatus": "RUNNING",
            "overrides": { "containerOverrides": [{ "name": "FargateApp" }] },
            "taskArn": ARN,
            "taskDefinitionArn": "arn:aws:ecs:us-west-2:111122223333:task-definition/sample-fargate:1",
            "version": 3,
            "platformVersion": "1.3.0"
        }
    })
}

fn read_task(envelope: &Value) -> Task {
    match read(&envelope.to_string()) {
        Event::Task(task) => *task,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_of_fargate_is_read_with_both_spellings_of_its_address() {
    let task = read_task(&fargate());
    assert_eq!(task.id, "c13b4cb40f1f4fe4a2971f76ae5a47ad");
    assert_eq!(task.addresses, ["10.0.0.139".parse::<IpAddr>().unwrap(), "2001:db8::139".parse().unwrap()]);
    assert_eq!((task.version, task.last_status, task.desired_status), (3, Stage::Running, Stage::Running));
    assert_eq!((task.service.as_deref(), task.zone.as_deref()), (None, Some("us-west-2c")));
    assert_eq!(task.containers[0].health, Reported::Healthy);
    let mut either = fargate();
    either["detail"]["containers"][0]["networkInterfaces"] = json!([]);
    assert_eq!(read_task(&either).addresses.len(), 1);
    let mut other = fargate();
    other["detail"]["attachments"] = json!([]);
    assert_eq!(read_task(&other).addresses.len(), 2);
}

#[test]
fn a_task_of_a_service_in_bridge_mode_that_stops_is_read() {
    let mut envelope = fargate();
    let detail = &mut envelope["detail"];
    detail["group"] = json!("service:cart");
    detail["desiredStatus"] = json!("STOPPED");
    detail["stopCode"] = json!("ServiceSchedulerInitiated");
    detail["stoppedReason"] = json!("Scaling activity");
    detail["overrides"]["taskRoleArn"] = json!("arn:aws:iam::111122223333:role/other");
    detail["containers"][0]["networkBindings"] =
        json!([{ "bindIP": "0.0.0.0", "containerPort": 15008, "hostPort": 32768, "protocol": "tcp" }]);
    let task = read_task(&envelope);
    assert!(task.is_stopping());
    assert_eq!(task.service.as_deref(), Some("cart"));
    assert_eq!(task.stopped.as_deref(), Some("ServiceSchedulerInitiated: Scaling activity"));
    assert_eq!(task.role.as_deref(), Some("arn:aws:iam::111122223333:role/other"));
    assert_eq!(task.containers[0].bindings, BTreeMap::from([(15008, 32768)]));
}

#[test]
fn what_is_unknown_is_passed_over_and_what_is_of_another_type_is_not_there() {
    let mut envelope = fargate();
    envelope["tomorrow"] = json!({ "deep": [1, 2] });
    envelope["detail"]["managedAgents"] = json!([{}]);
    envelope["detail"]["attachments"] = json!("none");
    envelope["detail"]["containers"][0]["networkInterfaces"] = json!({});
    envelope["detail"]["version"] = json!("7");
    let task = read_task(&envelope);
    assert_eq!((task.version, task.addresses.len()), (7, 0));
}

#[test]
fn services_are_looked_at_again_and_other_types_are_none_of_ours() {
    let arn = "arn:aws:ecs:us-west-2:111122223333:service/default/servicetest";
    for kind in ["ECS Service Action", "ECS Deployment State Change"] {
        let envelope = json!({ "detail-type": kind, "resources": [arn], "detail": { "eventType": "INFO" } });
        assert_eq!(read(&envelope.to_string()), Event::Service(arn.to_owned()));
    }
    let instance = json!({ "detail-type": "ECS Container Instance State Change", "detail": {} });
    assert_eq!(read(&instance.to_string()), Event::Other);
}

#[test]
fn what_cannot_be_read_says_so_and_nothing_more() {
    let mut nameless = fargate();
    nameless["detail"]["taskArn"] = json!(7);
    let mut unversioned = fargate();
    unversioned["detail"]["version"] = json!(null);
    let long = format!("{}{}", " ".repeat(LARGEST), fargate());
    let deep = "[".repeat(100_000);
    for body in ["", "{", "[]", "7", "{}", &deep, &nameless.to_string(), &unversioned.to_string(), &long] {
        assert_eq!(read(body), Event::Unreadable);
    }
}

/// Whatever is cut off or put in its place, reading ends without a panic.
#[test]
fn no_body_makes_it_panic() {
    let body = fargate().to_string().into_bytes();
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..3_000 {
        let mut body = body.clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..body.len());
            body[at] = rng.u8(b' '..b'~');
        }
        body.truncate(rng.usize(1..=body.len()));
        read(&String::from_utf8_lossy(&body));
    }
}
