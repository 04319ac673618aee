"""Tasks: their records, their life, and the stepper that leads them through it where no agent does.

The life is PROVISIONING, PENDING, ACTIVATING, RUNNING, DEACTIVATING, STOPPING, DEPROVISIONING, STOPPED. Whoever drives
a task calls `move`; `stop` only sets what is wished, as the API does.
"""

import heapq

LIFE = ("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED")
# Seconds that the stepper leaves a task in one state.
PACE = 0.05
# Docker's range of host ports in bridge mode.
FIRST_HOST_PORT = 32768


def make(world, definition, *, launch, group, started_by=None, subnet=None, zone=None, instance=None, service=None,
         overrides=None, tags=None, capacity=None, cluster=None):
    """Puts a new task in PROVISIONING; gives its record."""
    with world.lock:
        number = next(world.numbers)
        cluster_name = cluster.rsplit("/", 1)[-1]
        identity = world.identity()
        arn = world.arn("task", f"{cluster_name}/{identity}")
        world.private[arn].update(number=number, service=service)
        attachments, interface = [], []
        if definition.get("networkMode") == "awsvpc":
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            attachment = f"{identity[:8]}-{identity[8:12]}-{identity[12:16]}-{identity[16:20]}-{identity[20:]}"
            attachments = [eni(attachment, subnet or "subnet-a", address, number)]
            interface = [{"attachmentId": attachment, "privateIpv4Address": address}]
        record = {
            "attachments": attachments,
            "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
            "availabilityZone": zone,
            "capacityProviderName": capacity,
            "clusterArn": cluster,
            "connectivity": "CONNECTED",
            "connectivityAt": world.clock.date(),
            "containerInstanceArn": instance,
            "containers": [container(world, arn, one, interface, launch) for one in definition["containerDefinitions"]],
            "cpu": definition.get("cpu", "0"),
            "createdAt": world.clock.date(),
            "desiredStatus": "RUNNING",
            "enableExecuteCommand": False,
            "group": group,
            "healthStatus": "UNKNOWN",
            "lastStatus": "PROVISIONING",
            "launchType": launch,
            "memory": definition.get("memory", "0"),
            "overrides": overrides or {"containerOverrides": [], "inferenceAcceleratorOverrides": []},
            "platformFamily": "Linux" if launch == "FARGATE" else None,
            "platformVersion": "1.4.0" if launch == "FARGATE" else None,
            "startedBy": started_by,
            "tags": [],
            "taskArn": arn,
            "taskDefinitionArn": definition["taskDefinitionArn"],
            "version": 1,
        }
        if launch == "FARGATE":
            size = definition.get("ephemeralStorage", {}).get("sizeInGiB", 20)
            record["ephemeralStorage"] = {"sizeInGiB": size}
            record["fargateEphemeralStorage"] = {"sizeInGiB": size}
        world.tags[arn] = dict(tags or {})
        record = {name: value for name, value in record.items() if value is not None}
        world.put("task", arn, record)
        world.driver(arn).created(arn)
        return record


def eni(identity, subnet, address, number):
    details = {
        "subnetId": subnet,
        "networkInterfaceId": f"eni-{number:017x}",
        "macAddress": "0a:" + ":".join(f"{number >> shift & 255:02x}" for shift in (32, 24, 16, 8, 0)),
        "privateDnsName": f"ip-{address.replace('.', '-')}.compute.internal",
        "privateIPv4Address": address,
    }
    return {
        "id": identity,
        "type": "ElasticNetworkInterface",
        "status": "PRECREATED",
        "details": [{"name": name, "value": value} for name, value in details.items()],
    }


def container(world, task, definition, interfaces, launch):
    identity = world.identity()
    arn = task.replace(":task/", ":container/") + "/" + identity
    shape = {
        "containerArn": arn,
        "taskArn": task,
        "name": definition["name"],
        "image": definition["image"],
        "lastStatus": "PENDING",
        "networkInterfaces": interfaces,
        "healthStatus": "UNKNOWN",
        "cpu": str(definition.get("cpu", 0)),
        "memory": str(definition["memory"]) if "memory" in definition else None,
        "memoryReservation": str(definition["memoryReservation"]) if "memoryReservation" in definition else None,
    }
    if launch == "EC2":
        shape["networkBindings"] = []
    return {name: value for name, value in shape.items() if value is not None}


def change(world, arn, **fields):
    """A task's record with new fields and the next version."""
    with world.lock:
        task = world.find("task", arn)
        return world.change("task", arn, version=task["version"] + 1, **fields)


def change_container(world, arn, name, **fields):
    """A task with one container's record changed; the task's health follows its essential containers."""
    with world.lock:
        task = world.find("task", arn)
        containers = [{**one, **fields} if one["name"] == name else one for one in task["containers"]]
        if "healthStatus" not in fields:
            return change(world, arn, containers=containers)
        return change(world, arn, containers=containers, healthStatus=health(world, task, containers))


def health(world, task, containers):
    """Of a task: UNHEALTHY where one checked essential container is, HEALTHY where all are, else UNKNOWN."""
    definitions = world.find("definition", task["taskDefinitionArn"])["containerDefinitions"]
    checked = {one["name"] for one in definitions if one.get("essential", True) and "healthCheck" in one}
    seen = [one["healthStatus"] for one in containers if one["name"] in checked]
    if "UNHEALTHY" in seen:
        return "UNHEALTHY"
    return "HEALTHY" if seen and all(one == "HEALTHY" for one in seen) else "UNKNOWN"


def attach(world, arn, address):
    """Gives an awsvpc task another address (the one its real namespace has)."""
    with world.lock:
        task = world.find("task", arn)
        attachments = [
            {**one, "details": [
                {**detail, "value": address} if detail["name"] == "privateIPv4Address" else detail
                for detail in one["details"]
            ]} for one in task["attachments"]
        ]
        containers = [
            {**one, "networkInterfaces": [{**at, "privateIpv4Address": address} for at in one["networkInterfaces"]]}
            for one in task["containers"]
        ]
        return world.change("task", arn, attachments=attachments, containers=containers)


def move(world, arn, status, **fields):
    """Leads a task into a state; its times, attachments and containers follow unless `fields` or the agent say else."""
    with world.lock:
        task = world.find("task", arn)
        if task is None or task["lastStatus"] == "STOPPED":
            return task
        now = world.clock.date()
        new = {"lastStatus": status, **fields}
        containers = new.get("containers", task["containers"])
        if status == "PENDING":
            new.setdefault("pullStartedAt", now)
        if status in ("ACTIVATING", "RUNNING"):
            new.setdefault("pullStoppedAt", task.get("pullStoppedAt", now))
        if status == "RUNNING":
            new["startedAt"] = now
            containers = [started(world, arn, one) if one["lastStatus"] == "PENDING" else one for one in containers]
        if status in ("DEACTIVATING", "STOPPING"):
            new.setdefault("stoppingAt", task.get("stoppingAt", now))
        if status == "DEPROVISIONING":
            new.setdefault("executionStoppedAt", now)
        if status in ("DEPROVISIONING", "STOPPED"):
            containers = [ended(one) for one in containers]
        if status == "STOPPED":
            new.update(desiredStatus="STOPPED", stoppedAt=now, connectivity=None, connectivityAt=None)
            world.private["stopped"][arn] = world.clock.now()
        eni_state = {"PENDING": "ATTACHED", "RUNNING": "ATTACHED", "STOPPED": "DELETED"}.get(status)
        if eni_state:
            new["attachments"] = [{**one, "status": eni_state} for one in task["attachments"]]
        return change(world, arn, containers=containers, **new)


def started(world, arn, one):
    """A container as it is once it runs, with what only then is known."""
    task = world.find("task", arn)
    identity = arn.rsplit("/", 1)[-1]
    fargate = task.get("launchType") == "FARGATE"
    number = next(world.numbers)
    runtime = f"{identity}-{number:010d}" if fargate else world.identity() + world.identity()
    new = {**one, "lastStatus": "RUNNING", "imageDigest": "sha256:" + "0" * 64}
    new.setdefault("runtimeId", runtime)
    bindings = new.get("networkBindings")
    if bindings == []:
        new["networkBindings"] = bound(world, task, one["name"])
    return new


def bound(world, task, name):
    """Bindings of ports: none in awsvpc, the container's own in host, free ones in bridge."""
    definition = world.find("definition", task["taskDefinitionArn"])
    mode = definition.get("networkMode", "bridge")
    one = next(one for one in definition["containerDefinitions"] if one["name"] == name)
    if mode not in ("bridge", "host"):
        return []
    bindings = []
    for port in one.get("portMappings", []):
        inside = port["containerPort"]
        outside = inside if mode == "host" else port.get("hostPort") or FIRST_HOST_PORT + next(world.numbers) % 28000
        bindings.append({"bindIP": "0.0.0.0", "containerPort": inside, "hostPort": outside,
                         "protocol": port.get("protocol", "tcp")})
    return bindings


def ended(one):
    # One that has ended already, the agent knows: it may never have run.
    over = one["lastStatus"] == "STOPPED"
    return one if over else {**one, "lastStatus": "STOPPED", "exitCode": one.get("exitCode", 0)}


def stop(world, arn, reason=None, code="UserInitiated"):
    """Wishes a task stopped; its driver does the rest."""
    with world.lock:
        task = world.find("task", arn)
        if task["desiredStatus"] == "STOPPED":
            return task
        fields = {"desiredStatus": "STOPPED", "stopCode": code, "stoppingAt": world.clock.date()}
        if reason:
            fields["stoppedReason"] = reason
        task = change(world, arn, **fields)
        world.driver(arn).stopping(arn)
        return task


class Stepper:
    """Leads tasks through their life by the clock alone, without containers."""

    def __init__(self, world):
        self.world = world
        self.pace = PACE
        # State in which tasks wait, or None.
        self.hold = None
        # Orders to fail: [{"match": str, "how": "start" | "health" | "exit", "count": int or None}].
        self.failures = []
        self._due = []

    def takes(self, _arn):
        return True

    def created(self, arn):
        self._later(arn, self.pace)

    def stopping(self, arn):
        self._later(arn, self.pace)

    def tick(self, now):
        for _ in range(10_000):
            with self.world.lock:
                if not self._due or self._due[0][0] > now:
                    return
                _, turn, arn = heapq.heappop(self._due)
                if self.world.private[arn].get("turn") == turn:
                    self._step(arn)

    def _later(self, arn, seconds):
        with self.world.lock:
            # Only the newest entry of a task counts: a stop order takes the place of the step that was due.
            turn = self.world.private[arn]["turn"] = next(self.world.numbers)
            heapq.heappush(self._due, (self.world.clock.now() + seconds, turn, arn))

    def _step(self, arn):
        task = self.world.find("task", arn)
        if task is None or task["lastStatus"] == "STOPPED":
            return
        status, wished = task["lastStatus"], task["desiredStatus"]
        if wished == "RUNNING" and (status == self.hold or self.world.private[arn].get("hold") == status):
            return self._later(arn, max(self.pace, 0.02))
        if wished == "STOPPED":
            after = max(LIFE.index(status) + 1, LIFE.index("DEACTIVATING"))
            move(self.world, arn, LIFE[after])
            return self._later(arn, self.pace)
        if status == "ACTIVATING" and self._fails(task, "start"):
            stop(self.world, arn, "Task failed to start", "TaskFailedToStart")
        elif status != "RUNNING":
            move(self.world, arn, LIFE[LIFE.index(status) + 1])
            self._later(arn, self.pace)
        elif self._fails(task, "exit"):
            stop(self.world, arn, "Essential container in task exited", "EssentialContainerExited")
        elif task["healthStatus"] == "UNKNOWN":
            self._check(task)

    def _check(self, task):
        arn = task["taskArn"]
        definition = self.world.find("definition", task["taskDefinitionArn"])
        verdict = "UNHEALTHY" if self._fails(task, "health") else "HEALTHY"
        for one in definition["containerDefinitions"]:
            if "healthCheck" in one:
                change_container(self.world, arn, one["name"], healthStatus=verdict)

    def _fails(self, task, how):
        definition = self.world.find("definition", task["taskDefinitionArn"])
        names = {one["name"] for one in definition["containerDefinitions"]}
        short = f"{definition['family']}:{definition['revision']}"
        for order in self.failures:
            matches = order["match"] in (short, definition["family"], task["group"]) or order["match"] in names
            if matches and order["how"] == how and order.get("count") != 0:
                if order.get("count"):
                    order["count"] -= 1
                return True
        return False
