"""Task definitions: revisions, and what ECS refuses when one is registered (features of 4.1, 4.6 and 4.9 of AWS's
guides: moto accepts all of it)."""

import json

from .errors import client, parameter

CONTAINERS = 10
BYTES = 64 * 1024
# Of a container, refused in awsvpc; of a container, refused on Fargate.
NOT_IN_AWSVPC = ("links", "hostname", "extraHosts", "dnsServers", "dnsSearchDomains")
NOT_ON_FARGATE = ("links", "disableNetworking", "dockerSecurityOptions", "privileged", "extraHosts", "dnsServers",
                  "dnsSearchDomains", "hostname")
# Seconds that a container must have run to be started again.
RESTART_PERIOD = (60, 1800)
FARGATE_CAPABILITIES = {"SYS_PTRACE"}
# What the API adds to a container that does not say it.
DEFAULTS = {"cpu": 0, "portMappings": [], "essential": True, "environment": [], "mountPoints": [], "volumesFrom": [],
            "systemControls": []}


def register(world, asked):
    """Checks and puts a new revision; gives its record."""
    check(asked)
    with world.lock:
        family = asked["family"]
        counts = world.private["revisions"]
        revision = counts[family] = counts.get(family, 0) + 1
        arn = world.arn("task-definition", f"{family}:{revision}")
        fargate = asked.get("networkMode") == "awsvpc" and "cpu" in asked and "memory" in asked
        record = {name: value for name, value in asked.items() if name != "tags"}
        record.update(
            taskDefinitionArn=arn,
            revision=revision,
            status="ACTIVE",
            containerDefinitions=[filled(one, asked) for one in asked["containerDefinitions"]],
            volumes=asked.get("volumes", []),
            placementConstraints=asked.get("placementConstraints", []),
            requiresAttributes=attributes(asked),
            compatibilities=["EC2", "FARGATE"] if fargate else ["EC2"],
            registeredAt=world.clock.date(),
            registeredBy=f"arn:aws:iam::{world.account}:root",
        )
        world.tags[arn] = {tag["key"]: tag.get("value", "") for tag in asked.get("tags", [])}
        return world.put("definition", arn, record)


def filled(one, asked):
    filled = {**DEFAULTS, **one}
    same = asked.get("networkMode") in ("awsvpc", "host")
    filled["portMappings"] = [
        {"protocol": "tcp", **({"hostPort": port["containerPort"]} if same and "containerPort" in port
                               else {"hostPort": 0}), **port}
        for port in filled["portMappings"]
    ]
    return filled


def attributes(asked):
    names = ["com.amazonaws.ecs.capability.docker-remote-api.1.18"]
    if "taskRoleArn" in asked:
        names.append("com.amazonaws.ecs.capability.task-iam-role")
    if asked.get("networkMode") == "awsvpc":
        names.append("ecs.capability.task-eni")
    if "proxyConfiguration" in asked:
        names.append("ecs.capability.aws-appmesh")
    return [{"name": name} for name in names]


def check(asked):
    containers = asked["containerDefinitions"]
    names = [one.get("name") for one in containers]
    if not containers:
        raise client("Container list cannot be empty.")
    if None in names or any("image" not in one for one in containers):
        raise client("Container.name and Container.image should not be null or empty.")
    if len(containers) > CONTAINERS:
        raise client(f"Too many containers: the maximum is {CONTAINERS}.")
    if len(set(names)) != len(names):
        raise client("Container names must be unique in a task definition.")
    if len(json.dumps(asked).encode()) > BYTES:
        raise client("Actual length: the task definition exceeds 65536 bytes.")
    if not any(one.get("essential", True) for one in containers):
        raise client("Task definition does not have any essential containers.")
    for one in containers:
        if not any(size in holder for size in ("memory", "memoryReservation") for holder in (one, asked)):
            raise client(f"Invalid setting for container '{one['name']}'. At least one of 'memory' or "
                         "'memoryReservation' must be specified.")
        period = one.get("restartPolicy", {}).get("restartAttemptPeriod", RESTART_PERIOD[1])
        if not RESTART_PERIOD[0] <= period <= RESTART_PERIOD[1]:
            raise client(f"Container '{one['name']}': restartAttemptPeriod must be between 60 and 1800.")
    check_order(containers)
    check_ports(asked, containers)
    check_mode(asked, containers)
    check_proxy(asked, names)


def check_order(containers):
    by_name = {one["name"]: one for one in containers}
    for one in containers:
        for link in one.get("dependsOn", []):
            name, condition = link["containerName"], link["condition"]
            other = by_name.get(name)
            if other is None or name == one["name"]:
                raise client(f"Container '{one['name']}' depends on unknown container '{name}'.")
            if condition in ("COMPLETE", "SUCCESS") and other.get("essential", True):
                raise client(f"Container '{name}' is essential: nobody can depend on it with {condition}.")
            if condition == "HEALTHY" and "healthCheck" not in other:
                raise client(f"Container '{name}' has no healthCheck: nobody can depend on it with HEALTHY.")
    done = set()
    while len(done) < len(by_name):
        ready = {name for name, one in by_name.items() if name not in done
                 and all(link["containerName"] in done for link in one.get("dependsOn", []))}
        if not ready:
            raise client("Invalid 'dependsOn' setting: there is a cycle between containers.")
        done |= ready


def check_ports(asked, containers):
    if asked.get("networkMode") not in ("awsvpc", "host"):
        return
    seen = {}
    for one in containers:
        for port in one.get("portMappings", []):
            key = (port.get("containerPort"), port.get("protocol", "tcp"))
            if key[0] is not None and port.get("hostPort") not in (None, 0, key[0]):
                raise client("When networkMode is awsvpc or host, the host ports and container ports must match.")
            if key in seen and key[0] is not None:
                raise client(f"Containers '{seen[key]}' and '{one['name']}' map the same port {key[0]}/{key[1]}.")
            seen[key] = one["name"]


def check_mode(asked, containers):
    fargate = "FARGATE" in asked.get("requiresCompatibilities", [])
    mode = asked.get("networkMode")
    if fargate:
        if mode != "awsvpc":
            raise client("Fargate only supports network mode 'awsvpc'.")
        if "cpu" not in asked or "memory" not in asked:
            raise client("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    for one in containers:
        for name in NOT_IN_AWSVPC if mode == "awsvpc" else ():
            if one.get(name):
                raise client(f"{name} is not supported when networkMode=awsvpc.")
        for name in NOT_ON_FARGATE if fargate else ():
            if one.get(name):
                raise client(f"{name} is not supported on Fargate.")
        added = one.get("linuxParameters", {}).get("capabilities", {}).get("add", [])
        if fargate and set(added) - FARGATE_CAPABILITIES:
            raise client("Fargate supports only the capability SYS_PTRACE to be added.")
        check_health(one, fargate)


def check_health(one, fargate):
    health = one.get("healthCheck", {})
    bounds = {"interval": (5, 300), "timeout": (2, 60), "retries": (1, 10), "startPeriod": (0, 300)}
    for name, (low, high) in bounds.items():
        if name in health and not low <= health[name] <= high:
            raise client(f"Health check {name} must be between {low} and {high}.")
    for name in ("startTimeout", "stopTimeout"):
        if fargate and name in one and not 2 <= one[name] <= 120:
            raise client(f"{name} must be between 2 and 120 seconds on Fargate.")


def check_proxy(asked, names):
    proxy = asked.get("proxyConfiguration")
    if not proxy:
        return
    if asked.get("networkMode") != "awsvpc":
        raise client("proxyConfiguration needs networkMode awsvpc.")
    if proxy["containerName"] not in names:
        raise client(f"proxyConfiguration names the unknown container '{proxy['containerName']}'.")
    said = {one.get("name") for one in proxy.get("properties", [])}
    if not said & {"IgnoredUID", "IgnoredGID"} or "ProxyEgressPort" not in said:
        raise client("proxyConfiguration needs IgnoredUID or IgnoredGID, and ProxyEgressPort.")
    if ("AppPorts" in said) != ("ProxyIngressPort" in said):
        raise client("proxyConfiguration needs AppPorts and ProxyIngressPort together.")


def find(world, records, name):
    """By ARN, `family:revision` or family (its newest active revision); an error as ECS's where there is none."""
    short = name.rsplit("task-definition/", 1)[-1]
    family, _, revision = short.partition(":")
    if revision:
        found = records["definition"].get(world.arn("task-definition", short))
    else:
        mine = [one for one in records["definition"].values()
                if one["family"] == family and one["status"] == "ACTIVE"]
        found = max(mine, key=lambda one: one["revision"], default=None)
    if found is None:
        raise client("Unable to describe task definition.")
    return found


def usable(world, records, name):
    """The same, for tasks and services: only an active one serves."""
    try:
        found = find(world, records, name)
    except Exception:
        raise client("TaskDefinition not found.") from None
    if found["status"] != "ACTIVE":
        raise client("TaskDefinition is inactive.")
    return found


def deregister(world, name):
    with world.lock:
        if ":" not in name.rsplit("/", 1)[-1]:
            raise parameter("Task definition must have a revision.")
        found = find(world, world.records, name)
        return world.change("definition", found["taskDefinitionArn"], status="INACTIVE",
                            deregisteredAt=world.clock.date())
