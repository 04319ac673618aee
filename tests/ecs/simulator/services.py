"""Services as the API changes them: create, update, delete, and where their tasks are placed."""

from . import definitions, tasks
from .errors import Refused, client, parameter

DEFAULT_DEPLOYMENT = {"maximumPercent": 200, "minimumHealthyPercent": 100}
# Service fields that an update takes over as they are.
TAKEN = ("deploymentConfiguration", "availabilityZoneRebalancing", "placementConstraints", "placementStrategy",
         "healthCheckGracePeriodSeconds", "enableExecuteCommand", "enableECSManagedTags", "loadBalancers",
         "propagateTags", "serviceRegistries")
# Fields of a deployment: a change of one makes a new deployment.
DEPLOYED = ("networkConfiguration", "capacityProviderStrategy", "platformVersion", "serviceConnectConfiguration",
            "volumeConfigurations", "loadBalancers", "serviceRegistries")
EVENTS = 100
ZONES = ("a", "b", "c")


def create(world, cluster, asked):
    with world.lock:
        name = asked["serviceName"]
        arn = world.arn("service", f"{cluster['clusterName']}/{name}")
        old = world.find("service", arn)
        if old and old["status"] != "INACTIVE":
            raise parameter("Creation of service was not idempotent.")
        controller = asked.get("deploymentController", {"type": "ECS"})
        definition = None
        if "taskDefinition" in asked:
            definition = definitions.usable(world, world.records, asked["taskDefinition"])
            network(definition, asked)
        elif controller["type"] != "EXTERNAL":
            raise parameter("TaskDefinition cannot be blank.")
        launch = asked.get("launchType", "EC2")
        if definition and launch not in definition["compatibilities"]:
            raise client(f"Task definition does not support launch_type {launch}.")
        now = world.clock.date()
        record = {
            "serviceArn": arn,
            "serviceName": name,
            "clusterArn": cluster["clusterArn"],
            "loadBalancers": asked.get("loadBalancers", []),
            "serviceRegistries": asked.get("serviceRegistries", []),
            "status": "ACTIVE",
            "desiredCount": asked.get("desiredCount", 1),
            "runningCount": 0,
            "pendingCount": 0,
            "deploymentConfiguration": configuration(asked.get("deploymentConfiguration", {})),
            "deployments": [],
            "roleArn": f"arn:aws:iam::{world.account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
            "events": [],
            "createdAt": now,
            "placementConstraints": asked.get("placementConstraints", []),
            "placementStrategy": asked.get("placementStrategy", []),
            "schedulingStrategy": asked.get("schedulingStrategy", "REPLICA"),
            "deploymentController": controller,
            "createdBy": f"arn:aws:iam::{world.account}:root",
            "enableECSManagedTags": asked.get("enableECSManagedTags", False),
            "propagateTags": asked.get("propagateTags", "NONE"),
            "enableExecuteCommand": asked.get("enableExecuteCommand", False),
            "availabilityZoneRebalancing": asked.get("availabilityZoneRebalancing", "DISABLED"),
        }
        if "capacityProviderStrategy" in asked:
            record["capacityProviderStrategy"] = asked["capacityProviderStrategy"]
        else:
            record["launchType"] = launch
        if launch == "FARGATE":
            record.update(platformVersion=asked.get("platformVersion", "LATEST"), platformFamily="Linux")
        if "networkConfiguration" in asked:
            record["networkConfiguration"] = asked["networkConfiguration"]
        if "healthCheckGracePeriodSeconds" in asked:
            record["healthCheckGracePeriodSeconds"] = asked["healthCheckGracePeriodSeconds"]
        if definition:
            record["taskDefinition"] = definition["taskDefinitionArn"]
            extra = {key: asked[key] for key in DEPLOYED if key in asked and key not in TAKEN}
            record["deployments"] = [deployment(world, record, extra)]
        world.tags[arn] = {tag["key"]: tag.get("value", "") for tag in asked.get("tags", [])}
        return world.put("service", arn, record)


def configuration(asked):
    filled = {**DEFAULT_DEPLOYMENT, "deploymentCircuitBreaker": {"enable": False, "rollback": False}, **asked}
    return {**filled, "strategy": filled.get("strategy", "ROLLING")}


def deployment(world, service, extra):
    """A new deployment of a service as it stands, PRIMARY."""
    now = world.clock.date()
    identity = f"ecs-svc/{int(world.identity(), 16) % 10**19:019d}"
    world.private[identity].update(tried=0, wait=0.0)
    record = {
        "id": identity,
        "status": "PRIMARY",
        "taskDefinition": service["taskDefinition"],
        "desiredCount": 0,
        "pendingCount": 0,
        "runningCount": 0,
        "failedTasks": 0,
        "createdAt": now,
        "updatedAt": now,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": f"ECS deployment {identity} in progress.",
        **{key: service[key] for key in ("launchType", "capacityProviderStrategy", "platformVersion", "platformFamily",
                                         "networkConfiguration") if key in service},
        **{key: value for key, value in extra.items() if key not in ("platformVersion", "networkConfiguration")},
    }
    tell(world, service, "ECS Deployment State Change", "SERVICE_DEPLOYMENT_IN_PROGRESS", deploymentId=identity,
         reason=f"ECS deployment {identity} in progress.")
    return record


def update(world, service, asked):
    with world.lock:
        if service["status"] != "ACTIVE":
            raise Refused("ServiceNotActiveException", "Service was not ACTIVE.")
        kind = service["deploymentController"]["type"]
        new = {key: asked[key] for key in TAKEN if key in asked}
        if "deploymentConfiguration" in new:
            new["deploymentConfiguration"] = configuration(
                {**service["deploymentConfiguration"], **new["deploymentConfiguration"]})
        if "desiredCount" in asked:
            new["desiredCount"] = asked["desiredCount"]
        definition = service.get("taskDefinition")
        if "taskDefinition" in asked:
            if kind != "ECS":
                raise parameter(f"Unable to update task definition on services with a {kind} deployment controller."
                                + (" Use AWS CodeDeploy to trigger a new deployment." if kind == "CODE_DEPLOY" else ""))
            found = definitions.usable(world, world.records, asked["taskDefinition"])
            network(found, {**service, **asked})
            launch = service.get("launchType")
            if launch and launch not in found["compatibilities"]:
                raise client(f"Task definition does not support launch_type {launch}.")
            definition = found["taskDefinitionArn"]
        extra = {key: asked[key] for key in DEPLOYED if key in asked}
        again = asked.get("forceNewDeployment") or definition != service.get("taskDefinition") or any(
            service.get(key) != value for key, value in extra.items())
        for key in ("networkConfiguration", "platformVersion", "capacityProviderStrategy"):
            if key in asked:
                new[key] = asked[key]
        if again and kind == "ECS":
            service = {**service, **new, "taskDefinition": definition}
            old = [{**one, "status": "ACTIVE", "desiredCount": 0} if one["status"] == "PRIMARY" else one
                   for one in service["deployments"]]
            new["taskDefinition"] = definition
            kept = {key: value for key, value in extra.items() if key not in TAKEN}
            new["deployments"] = [deployment(world, service, kept), *old]
        return world.change("service", service["serviceArn"], **new)


def delete(world, service, force):
    with world.lock:
        if service["desiredCount"] > 0 and not force and service["schedulingStrategy"] == "REPLICA":
            raise parameter("The service cannot be stopped while it is scaled above 0.")
        return world.change("service", service["serviceArn"], status="DRAINING", desiredCount=0)


def network(definition, asked):
    """awsvpc asks for a network configuration, other modes refuse one."""
    given = asked.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if definition.get("networkMode") == "awsvpc" and not given:
        raise parameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if definition.get("networkMode") != "awsvpc" and given:
        raise parameter("Network Configuration is not valid for the given networkMode of this task definition.")


def place(world, cluster, asked, number, launch):
    """Where the next task goes: (subnet, zone, instance); instance is None on Fargate. None: nowhere."""
    subnets = asked.get("networkConfiguration", {}).get("awsvpcConfiguration", {}).get("subnets", [])
    if launch == "FARGATE":
        subnet = subnets[number % len(subnets)] if subnets else None
        return subnet, zone_of(world, subnet), None
    instances = [one for one in world.records["instance"].values()
                 if world.private[one["containerInstanceArn"]]["cluster"] == cluster and one["status"] == "ACTIVE"
                 and all(fits(one, constraint) for constraint in asked.get("placementConstraints", []))]
    if not instances:
        return None
    instance = instances[number % len(instances)]
    zone = next(one["value"] for one in instance["attributes"] if one["name"] == "ecs.availability-zone")
    near = [subnet for subnet in subnets if zone_of(world, subnet) == zone] or subnets
    return near[0] if near else None, zone, instance["containerInstanceArn"]


def fits(instance, constraint):
    """Whether an instance is one of `attribute:NAME == VALUE`; other constraints are not simulated."""
    name, _, value = constraint.get("expression", "").partition(" == ")
    if constraint["type"] != "memberOf" or not name.startswith("attribute:"):
        raise parameter(f"placement constraint {constraint} is not simulated")
    wanted = {"name": name.removeprefix("attribute:"), "value": value}
    return wanted in instance["attributes"]


def zone_of(world, subnet):
    """A subnet's zone: the one after its last dash, as in `subnet-b`; others are dealt out in turn."""
    letter = (subnet or "a").rsplit("-", 1)[-1]
    if letter not in ZONES:
        known = world.private["subnets"]
        letter = known.setdefault(subnet, ZONES[len(known) % len(ZONES)])
    return f"{world.region}{letter}"


def start(world, service, one):
    """Starts one more task of a deployment; whether there was a place."""
    with world.lock:
        definition = world.find("definition", one["taskDefinition"])
        launch, capacity = one.get("launchType"), None
        if launch is None:
            capacity = one["capacityProviderStrategy"][0]["capacityProvider"]
            launch = "FARGATE" if capacity.startswith("FARGATE") else "EC2"
        held = world.private[service["serviceArn"]]
        number = held["placed"] = held.get("placed", -1) + 1
        asked = {**one, "placementConstraints": service["placementConstraints"]}
        placed = place(world, service["clusterArn"], asked, number, launch)
        if placed is None:
            return False
        subnet, zone, instance = placed
        tags = {}
        if service.get("propagateTags") == "SERVICE":
            tags = world.tags.get(service["serviceArn"], {})
        elif service.get("propagateTags") == "TASK_DEFINITION":
            tags = world.tags.get(one["taskDefinition"], {})
        tasks.make(world, definition, launch=launch, group=f"service:{service['serviceName']}", started_by=one["id"],
                   subnet=subnet, zone=zone, instance=instance, service=service["serviceArn"], tags=tags,
                   capacity=capacity, cluster=service["clusterArn"])
        return True


def note(world, service, message):
    """Adds an event to those that DescribeServices shows; the newest is first."""
    event = {"id": world.identity(), "createdAt": world.clock.date(), "message": message}
    return world.change("service", service["serviceArn"], events=[event, *service["events"]][:EVENTS])


def tell(world, service, kind, name, **more):
    """Tells listeners of a service's action."""
    from .state import Change

    level = "ERROR" if name.endswith("FAILED") or name == "SERVICE_TASK_PLACEMENT_FAILURE" else "INFO"
    after = {"detail-type": kind, "eventType": level, "eventName": name, **more}
    world.tell(Change("action", service["serviceArn"], None, after, world.clock.now()))
