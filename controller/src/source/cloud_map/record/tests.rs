use super::*;

fn read(attributes: &[(&str, &str)]) -> Result<Instance, Unusable> {
    let attributes =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Instance::read("i-1", Health::Healthy, &attributes)
}

#[test]
fn what_ecs_registers_is_read() {
    let ecs = [
        ("AWS_INSTANCE_IPV4", "10.0.1.5"),
        ("AWS_INSTANCE_PORT", "32768"),
        ("AVAILABILITY_ZONE", "eu-west-1a"),
        ("REGION", "eu-west-1"),
        ("ECS_CLUSTER_NAME", "shop"),
        ("AWS_INIT_HEALTH_STATUS", "HEALTHY"),
    ];
    let instance = read(&ecs).unwrap();
    assert_eq!((instance.addresses, instance.port), (vec!["10.0.1.5".parse().unwrap()], Some(32_768)));
    assert_eq!(instance.zone.as_deref(), Some("eu-west-1a"));
    let connect = [("AWS_INSTANCE_IPV4", "10.0.1.5"), ("AvailabilityZone", "eu-west-1b")];
    assert_eq!(read(&connect).unwrap().zone.as_deref(), Some("eu-west-1b"));
}

#[test]
fn both_families_are_one_instance() {
    let both = [("AWS_INSTANCE_IPV6", "2600:1f18::5"), ("AWS_INSTANCE_IPV4", "10.0.1.5")];
    let instance = read(&both).unwrap();
    assert_eq!(instance.addresses, ["10.0.1.5", "2600:1f18::5"].map(|text| text.parse::<IpAddr>().unwrap()));
    assert_eq!((instance.port, instance.zone), (None, None));
}

#[test]
fn what_cannot_be_called_says_why() {
    let told = |attributes: &[(&str, &str)], words: &str| {
        let said = read(attributes).unwrap_err().to_string();
        assert!(said.contains("i-1") && said.contains(words), "{said}");
    };
    told(&[], "no AWS_INSTANCE_IPV4");
    told(&[("AWS_INSTANCE_CNAME", "db.example")], "AWS_INSTANCE_CNAME");
    told(&[("AWS_ALIAS_DNS_NAME", "lb.example")], "AWS_ALIAS_DNS_NAME");
    told(&[("AWS_INSTANCE_IPV4", "10.0.0.256")], "IPv4 address");
    told(&[("AWS_INSTANCE_IPV4", "10.0.0.5"), ("AWS_INSTANCE_IPV6", "10.0.0.6")], "IPv6 address");
    for port in ["0", "65536", "http", "-1"] {
        told(&[("AWS_INSTANCE_IPV4", "10.0.0.5"), ("AWS_INSTANCE_PORT", port)], "no port");
    }
    // One bad address spoils both: whoever wrote it meant something.
    told(
        &[("AWS_INSTANCE_IPV4", "10.0.0.5"), ("AWS_INSTANCE_IPV6", "fd00:ec2::254")],
        "callers are not led there",
    );
    told(&[("AWS_INSTANCE_IPV4", "169.254.169.254")], "metadata");
}
