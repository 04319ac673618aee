"""`/sim/…`: what tests order, in JSON. Requests of the API go in without throttling, and are not recorded."""

from . import tasks


class Control:
    """Each method is a path: `POST /sim/<method>` with a JSON object; `GET` where it only asks."""

    def __init__(self, simulator):
        self.it = simulator
        self.world = simulator.world

    def __call__(self, path, method, asked):
        act = getattr(self, "do_" + path.replace("/", "_").replace("-", "_"), None)
        return act(asked) if act else None

    def api(self, operation, asked):
        fault = self.it.shapes.question(operation, asked)
        if fault:
            raise ValueError(fault)
        return self.it.api.call(operation, asked)

    # The world.

    def do_cluster(self, asked):
        """{"name", "instances": [{"zone": "a"}]}: a cluster, with EC2 instances."""
        cluster = self.api("CreateCluster", {"clusterName": asked.get("name", "default")})["cluster"]
        made = [self.instance(cluster, one) for one in asked.get("instances", [])]
        return {**cluster, "instances": made}

    def do_instance(self, asked):
        """{"cluster", "zone"}: one more EC2 instance."""
        cluster = self.it.api.cluster(asked, self.world.records)
        return {"instance": self.instance(cluster, asked)}

    def instance(self, cluster, asked):
        arn = self.world.arn("container-instance", f"{cluster['clusterName']}/{self.world.identity()}")
        self.world.private[arn]["cluster"] = cluster["clusterArn"]
        self.world.put("instance", arn, {
            "containerInstanceArn": arn, "ec2InstanceId": "i-" + self.world.identity()[:17], "status": "ACTIVE",
            "agentConnected": True, "runningTasksCount": 0, "pendingTasksCount": 0, "version": 1,
            "versionInfo": {"agentVersion": "1.98.0", "dockerVersion": "DockerVersion: 25.0.8"},
            "registeredAt": self.world.clock.date(), "attachments": [], "tags": [],
            "attributes": [
                {"name": "ecs.availability-zone", "value": self.world.region + asked.get("zone", "a")},
                {"name": "ecs.os-type", "value": "linux"},
            ],
        })
        return arn

    def do_definition(self, asked):
        """As RegisterTaskDefinition asks."""
        return self.api("RegisterTaskDefinition", asked)["taskDefinition"]

    def do_inactive(self, asked):
        """As DeregisterTaskDefinition asks."""
        return self.api("DeregisterTaskDefinition", asked)["taskDefinition"]

    def do_service(self, asked):
        """As CreateService asks; a cluster that is not there is made."""
        self.do_cluster({"name": asked.get("cluster", "default").rsplit("/", 1)[-1]})
        return self.api("CreateService", asked)["service"]

    def do_update(self, asked):
        """As UpdateService asks."""
        return self.api("UpdateService", asked)["service"]

    def do_run(self, asked):
        """As RunTask asks; `hold` is a state in which these tasks wait."""
        hold = asked.pop("hold", None)
        with self.world.lock:
            made = self.api("RunTask", asked)
            for task in made["tasks"]:
                self.world.private[task["taskArn"]]["hold"] = hold
        return made

    def do_stop(self, asked):
        """{"task", "reason", "code"}."""
        return tasks.stop(self.world, asked["task"], asked.get("reason"), asked.get("code", "UserInitiated"))

    def do_move(self, asked):
        """{"task", "lastStatus", …}: leads a task by hand; other fields are set as they are."""
        fields = {name: value for name, value in asked.items() if name not in ("task", "lastStatus")}
        if "lastStatus" in asked:
            return tasks.move(self.world, asked["task"], asked["lastStatus"], **fields)
        return tasks.change(self.world, asked["task"], **fields)

    def do_container(self, asked):
        """{"task", "name", …}: sets fields of a container's record."""
        fields = {name: value for name, value in asked.items() if name not in ("task", "name")}
        return tasks.change_container(self.world, asked["task"], asked["name"], **fields)

    def do_attach(self, asked):
        """{"task", "address"}."""
        return tasks.attach(self.world, asked["task"], asked["address"])

    def do_release(self, asked):
        """{"task"}: it waits no longer."""
        self.world.private[asked["task"]].pop("hold", None)
        return {}

    def do_state(self, asked):
        """Everything, or the records of one `kind`, as they are now (no lag)."""
        with self.world.lock:
            kinds = [asked["kind"]] if "kind" in asked else list(self.world.records)
            return {kind: list(self.world.records[kind].values()) for kind in kinds}

    # Time and pace.

    def do_pace(self, asked):
        """{"seconds", "hold"}: of the stepper, for each state; and the state in which all tasks wait, or null."""
        self.it.stepper.pace = float(asked.get("seconds", self.it.stepper.pace))
        if "hold" in asked:
            self.it.stepper.hold = asked["hold"]
        return {}

    def do_fail(self, asked):
        """{"match", "how": "start" | "health" | "exit", "count"}: tasks of a family, `family:revision`, group or with
        a container of that name fail; {"clear": true} ends all such orders."""
        if asked.get("clear"):
            self.it.stepper.failures.clear()
        else:
            self.it.stepper.failures.append(asked)
        return {}

    def do_clock(self, asked):
        """{"advance": seconds}."""
        self.world.clock.advance(float(asked.get("advance", 0)))
        return {"now": self.world.clock.now()}

    # Trouble.

    def do_trouble(self, asked):
        """An order of `trouble.py`, or {"clear": true}; GET lists them."""
        if asked.get("clear"):
            self.it.trouble.clear()
        elif asked:
            self.it.trouble.order(asked)
        return {"orders": self.it.trouble.orders}

    def do_lag(self, asked):
        """{"seconds"}: reads lag; {"reads"}: the next reads see the world as it is now."""
        if "reads" in asked:
            self.world.freeze(int(asked["reads"]))
        if "seconds" in asked:
            self.world.set_lag(float(asked["seconds"]))
        return {}

    def do_rates(self, asked):
        """{"on": bool}: whether the published rates refuse; gives the lowest level each bucket had."""
        if "on" in asked:
            self.it.rates.on = bool(asked["on"])
        return {"on": self.it.rates.on, "lowest": self.it.rates.lowest}

    # The queue.

    def do_events(self, asked):
        """An order of `events.py`, or {"clear": true}; GET lists them, with the queue's counts."""
        if asked.get("clear"):
            self.it.events.clear()
        elif asked:
            self.it.events.order(asked)
        return {"orders": self.it.events.orders, "queue": self.it.queue.counts()}

    def do_event(self, asked):
        """An envelope (or anything else) to put into the queue as it is."""
        self.it.events.send(asked)
        return {}

    def do_purge(self, _asked):
        self.it.queue.purge()
        return {}

    # Cloud Map.

    def do_registered(self, asked):
        """{"namespace", "service", "id", "attributes", "health": "HEALTHY"}: an instance; what is not there is made."""
        return self.it.cloud_map.register(asked)

    def do_deregistered(self, asked):
        """{"namespace", "service", "id"}."""
        return self.it.cloud_map.deregister(asked)

    # What was asked.

    def do_calls(self, asked):
        """{"since", "operation", "clear"}."""
        found = self.it.calls.since(float(asked.get("since", 0)), asked.get("operation"))
        if asked.get("clear"):
            self.it.calls.clear()
        return {"calls": found, "now": self.world.clock.now()}

    def do_faults(self, _asked):
        return {"faults": self.it.calls.faults()}

    # Credentials.

    def do_credentials(self, asked):
        """{"task", "lifetime", "role"}: credentials of the task's role."""
        more = {name: asked[name] for name in ("role",) if name in asked}
        return self.it.issuer.issue(asked["task"], float(asked.get("lifetime", 6 * 3600)), **more)

    def do_revoke(self, asked):
        """{"access_key"}."""
        self.it.issuer.revoke(asked["access_key"])
        return {}
