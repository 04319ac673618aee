use aws_sdk_ecs::types::{
    Attachment, Container, ContainerDefinition, HealthCheck, HealthStatus, KeyValuePair, LoadBalancer,
    NetworkBinding, NetworkInterface, OsFamily, PortMapping, RuntimePlatform, TaskOverride,
    TransportProtocol,
};

use outrigger_model::label::MANAGED;

use super::*;

const ARN: &str = "arn:aws:ecs:eu-west-1:111122223333:task/shop/0123456789abcdef0123456789abcdef";

fn detail(name: &str, value: &str) -> KeyValuePair {
    KeyValuePair::builder().name(name).value(value).build()
}

#[test]
fn a_task_on_fargate_is_read_with_its_addresses_from_either_place() {
    let interface =
        NetworkInterface::builder().private_ipv4_address("10.0.1.7").ipv6_address("fd00::7").build();
    let container = Container::builder().name("app").runtime_id("r-1").last_status("RUNNING");
    let container = container.health_status(HealthStatus::Healthy).network_interfaces(interface).build();
    let attachment = Attachment::builder().r#type("ElasticNetworkInterface");
    let attachment =
        attachment.details(detail("macAddress", "0a:00")).details(detail("privateIPv4Address", "10.0.1.7"));
    let task =
        types::Task::builder().task_arn(ARN).cluster_arn("arn:aws:ecs:eu-west-1:111122223333:cluster/shop");
    let task = task.task_definition_arn("arn:aws:ecs:eu-west-1:111122223333:task-definition/cart:3");
    let task = task.group("service:cart").last_status("RUNNING").desired_status("RUNNING").version(4);
    let task =
        task.overrides(TaskOverride::builder().task_role_arn("arn:aws:iam::111122223333:role/x").build());
    let task = Task::of(task.containers(container).attachments(attachment.build()).build()).unwrap();
    assert_eq!(task.id, "0123456789abcdef0123456789abcdef");
    assert_eq!(task.service.as_deref(), Some("cart"));
    assert_eq!(task.addresses, ["10.0.1.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
    assert_eq!((task.last_status, task.version, task.is_stopping()), (Stage::Running, 4, false));
    assert_eq!(task.role.as_deref(), Some("arn:aws:iam::111122223333:role/x"));
    assert_eq!(task.containers[0].health, Reported::Healthy);
}

#[test]
fn a_task_in_bridge_mode_has_ports_of_the_host_and_no_address() {
    let binding = |protocol, container, host| {
        NetworkBinding::builder().protocol(protocol).container_port(container).host_port(host).build()
    };
    let container = Container::builder().name("outrigger-sidecar");
    let container = container.network_bindings(binding(TransportProtocol::Tcp, 15006, 32768));
    let container = container.network_bindings(binding(TransportProtocol::Udp, 53, 32769)).build();
    let task =
        types::Task::builder().task_arn(ARN).cluster_arn("c").task_definition_arn("d").group("family:cart");
    let task = Task::of(task.containers(container).build()).unwrap();
    assert!(task.addresses.is_empty() && task.service.is_none());
    assert_eq!(task.containers[0].bindings, BTreeMap::from([(15006, 32768)]));
    assert_eq!(task.last_status, Stage::Provisioning, "nothing is said, nothing is sent there");
}

#[test]
fn a_definition_has_the_labels_of_the_users_containers_alone() {
    let app = ContainerDefinition::builder().name("app").image("cart:1").essential(true);
    let app = app.docker_labels("outrigger.service", "cart").docker_labels("outrigger.port", "8080");
    let app = app.port_mappings(PortMapping::builder().container_port(8080).build());
    let app = app.port_mappings(PortMapping::builder().container_port_range("9000-9002").build()).build();
    let log = ContainerDefinition::builder().name("log").docker_labels("outrigger.service", "other").build();
    let sidecar = ContainerDefinition::builder().name("mesh").docker_labels(MANAGED, "sidecar");
    let sidecar = sidecar.docker_labels("outrigger.capture", "platform");
    let sidecar = sidecar.health_check(HealthCheck::builder().command("CMD").build().unwrap()).build();
    let definition =
        types::TaskDefinition::builder().task_definition_arn("arn:d/cart:3").family("cart").revision(3);
    let definition = definition.network_mode(types::NetworkMode::Awsvpc).task_role_arn("role");
    let definition =
        definition.container_definitions(app).container_definitions(log).container_definitions(sidecar);
    let definition = Definition::of(definition.build()).unwrap();
    assert_eq!(definition.labels["outrigger.service"], "cart", "the first one's");
    assert!(!definition.labels.contains_key("outrigger.capture") && definition.sidecar);
    assert_eq!(definition.sidecar().unwrap().labels["outrigger.capture"], "platform");
    assert!(definition.sidecar().unwrap().checked && !definition.windows);
    assert_eq!(definition.containers[0].ports, BTreeSet::from([8080, 9000, 9001, 9002]));
    assert_eq!((definition.network_mode, definition.role.as_deref()), (NetworkMode::Awsvpc, Some("role")));
}

#[test]
fn what_says_nothing_is_bridge_mode_on_linux_and_windows_is_told() {
    let definition = types::TaskDefinition::builder().task_definition_arn("d");
    let platform = RuntimePlatform::builder();
    let windows = platform.operating_system_family(OsFamily::WindowsServer2022Core).build();
    let definition = Definition::of(definition.runtime_platform(windows).build()).unwrap();
    assert_eq!(
        (definition.network_mode, definition.sidecar, definition.windows),
        (NetworkMode::Bridge, false, true)
    );
}

#[test]
fn a_service_has_the_ports_that_its_target_groups_reach() {
    let target = |container: &str, port| {
        LoadBalancer::builder().container_name(container).container_port(port).build()
    };
    let service = types::Service::builder().service_arn("arn:s").service_name("cart").cluster_arn("arn:c");
    let service =
        service.status("ACTIVE").load_balancers(target("app", 8080)).load_balancers(target("app", 8080));
    let service = service.tags(types::Tag::builder().key("outrigger:inject").value("true").build());
    let service = Service::of(service.build()).unwrap();
    assert_eq!(service.targets, BTreeSet::from([("app".to_owned(), 8080)]));
    assert_eq!(service.tags["outrigger:inject"], "true");
}

#[test]
fn a_life_goes_one_way() {
    let words = [
        "PROVISIONING",
        "PENDING",
        "ACTIVATING",
        "RUNNING",
        "DEACTIVATING",
        "STOPPING",
        "DEPROVISIONING",
        "STOPPED",
    ];
    let stages: Vec<_> = words.iter().map(|word| Stage::of(Some(word))).collect();
    assert!(stages.is_sorted() && stages.windows(2).all(|pair| pair[0] != pair[1]), "{stages:?}");
}
