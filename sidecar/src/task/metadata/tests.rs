use super::*;

/// As an agent on EC2 answers, awsvpc.
const EC2: &str = r#"{
  "Cluster": "default", "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c",
  "Family": "cart", "ServiceName": "cart", "Revision": "26", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
  "PullStartedAt": "2020-10-02T00:43:06.202617438Z", "AvailabilityZone": "us-west-2d", "VPCID": "vpc-1234567890abcdef0",
  "TaskTags": {"a": "b"}, "LaunchType": "EC2",
  "Containers": [
    {"DockerId": "598cba58", "Name": "~internal~ecs~pause", "DockerName": "ecs-cart-26-internalecspause", "Type": "CNI_PAUSE",
     "DesiredStatus": "RESOURCES_PROVISIONED", "KnownStatus": "RESOURCES_PROVISIONED",
     "Labels": {"com.amazonaws.ecs.cluster": "default"},
     "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.2.61"], "AttachmentIndex": 0, "DNSSuffix": null}]},
    {"DockerId": "ee08638a", "Name": "cart", "Type": "NORMAL",
     "CreatedAt": "2020-10-02T00:43:06.1Z", "StartedAt": "2020-10-02T00:43:07.228Z", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
     "Labels": {"outrigger.port": "80", "odd": 7}, "Limits": {"CPU": 0, "Memory": 0},
     "Health": {"status": "HEALTHY", "statusSince": "2020", "output": "{}"},
     "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.2.61"], "IPv6Addresses": ["2600:1f14::1"]}]},
    {"DockerId": "aa", "Name": "init", "Type": "NORMAL", "DesiredStatus": "STOPPED", "KnownStatus": "STOPPED", "ExitCode": 0}
  ]
}"#;

/// As Fargate answers.
const FARGATE: &str = r#"{
  "Cluster": "arn:aws-us-gov:ecs:us-gov-west-1:111122223333:cluster/shop",
  "TaskARN": "arn:aws-us-gov:ecs:us-gov-west-1:111122223333:task/shop/e9028f8d5d8e4f258373e7b93ce9a3c3", "Family": "web",
  "Revision": "1", "DesiredStatus": "STOPPED", "KnownStatus": "RUNNING", "Limits": {"CPU": 0.25, "Memory": 512},
  "AvailabilityZone": "us-gov-west-1b", "LaunchType": "FARGATE",
  "ClockDrift": {"ClockErrorBound": 0.4, "ClockSynchronizationStatus": "SYNCHRONIZED"}, "FaultInjectionEnabled": false,
  "Containers": [{"DockerId": "e9028f8d-1", "Name": "web", "ContainerARN": "arn:…", "KnownStatus": "RUNNING", "Snapshotter": "overlayfs",
    "Networks": [{"IPv4Addresses": ["192.0.2.3"], "PrivateDNSName": "ip.ec2.internal", "MACAddress": "0a"}]}]
}"#;

#[test]
fn ec2_and_fargate_say_it_in_their_ways() {
    let ec2 = Task::read(EC2.as_bytes()).unwrap();
    assert_eq!(
        (ec2.arn().unwrap().region(), ec2.arn().unwrap().id()),
        ("us-west-2", "158d1c8083dd49d6b527399fd6414f5c")
    );
    assert_eq!((ec2.service.as_deref(), ec2.zone.as_deref()), (Some("cart"), Some("us-west-2d")));
    assert!(!ec2.is_stopping());
    let cart = ec2.container("cart").unwrap();
    assert_eq!(cart.labels, BTreeMap::from([("outrigger.port".into(), "80".into())]));
    assert_eq!(cart.addresses, ["10.0.2.61", "2600:1f14::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    assert_eq!(cart.health.as_deref(), Some("HEALTHY"));
    assert_eq!(ec2.container("init").unwrap().exit_code, Some(0));
    assert_eq!(cart.started_at.as_deref(), Some("2020-10-02T00:43:07.228Z"));
    let pause = ec2.container("~internal~ecs~pause").unwrap();
    assert!(pause.is_agents() && !cart.is_agents());

    let fargate = Task::read(FARGATE.as_bytes()).unwrap();
    assert_eq!((fargate.arn().unwrap().region(), fargate.service.as_deref()), ("us-gov-west-1", None));
    assert!(fargate.is_stopping());
    assert_eq!(fargate.containers.len(), 1);
    let web = fargate.container("web").unwrap();
    assert!(!web.is_agents() && web.started_at.is_none(), "without a type it is one of the definition's");
}

#[test]
fn a_container_says_of_itself_what_its_task_says_of_it() {
    let all = Task::read(EC2.as_bytes()).unwrap();
    let said: serde_json::Value = serde_json::from_str(EC2).unwrap();
    for (container, said) in all.containers.iter().zip(said["Containers"].as_array().unwrap()) {
        assert_eq!(&Container::read(said.to_string().as_bytes()).unwrap(), container);
    }
}

#[test]
fn what_is_of_another_kind_is_as_if_not_said() {
    let odd = r#"{"TaskARN": "arn:aws:ecs:eu-west-1:1:task/0a", "Containers": {"x": 1}, "Family": 7, "DesiredStatus": null}"#;
    let task = Task::read(odd.as_bytes()).unwrap();
    assert_eq!((task.arn().unwrap().id(), task.family.as_str(), task.containers.len()), ("0a", "", 0));
    let odd = r#"{"TaskARN": "arn:aws:ecs:eu-west-1:1:task/c/0a", "Containers": [null, 5, {"Networks": [{"IPv4Addresses": ["x", 1]}], "Labels": []}]}"#;
    assert_eq!(Task::read(odd.as_bytes()).unwrap().containers, vec![Container::default(); 3]);
}

/// Whoever only asks whether the task stops needs no ARN.
#[test]
fn without_an_arn_the_rest_is_read_and_no_role_can_be_proved() {
    for bad in [
        "{}",
        "{\"TaskARN\": 5}",
        "{\"TaskARN\": \"arn:aws:ecs:eu-west-1:1:service/x\"}",
        "{\"TaskARN\": \"arn:aws:ecs::1:task/x\"}",
        "{\"TaskARN\": \"arn:aws:ecs:eu-west-1:1:task/c/\"}",
        "{\"TaskARN\": \"arn:aws:ecs:eu-west-1:1:task/c/a b\"}",
    ] {
        let task = Task::read(bad.as_bytes()).unwrap();
        assert!(matches!(task.arn(), Err(MetadataError::Arn(_))), "{bad}");
        assert!(!task.is_stopping());
    }
    let stopping = Task::read(br#"{"DesiredStatus": "STOPPED", "Containers": [{"Name": "app"}]}"#).unwrap();
    assert!(stopping.is_stopping() && stopping.container("app").is_some());
}

#[test]
fn what_is_no_object_is_refused() {
    for bad in ["", "[]", "null", "7", "\"\"", &EC2[..EC2.len() - 3]] {
        assert!(Task::read(bad.as_bytes()).is_err() && Container::read(bad.as_bytes()).is_err(), "{bad}");
    }
}
