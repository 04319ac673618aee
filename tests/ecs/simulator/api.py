"""ECS over HTTP, in its JSON protocol: the operations, by name. Reads see `World.view`, which may lag."""

import base64
import json

from . import definitions, services, tasks
from .errors import Refused, client, parameter

# Most items that a Describe call takes, and the size of a page where the caller names none.
MOST = {"DescribeTasks": 100, "DescribeServices": 10, "DescribeClusters": 100, "DescribeContainerInstances": 100}
PAGES = {"ListServices": (10, 100)}
PAGE = (100, 100)


class Api:
    """The operations; each is a method that takes the request's fields and gives the answer's."""

    def __init__(self, world):
        self.world = world

    def call(self, operation, asked):
        act = getattr(self, operation, None)
        if act is None:
            raise Refused("UnsupportedFeatureException", f"the simulator does not know {operation}")
        return act(asked)

    # Names in requests: short or full.

    def cluster(self, asked, records):
        name = asked.get("cluster", "default").rsplit("/", 1)[-1]
        found = records["cluster"].get(self.world.arn("cluster", name))
        if found is None or found["status"] == "INACTIVE":
            raise Refused("ClusterNotFoundException", "Cluster not found.")
        return found

    def service_arn(self, cluster, name):
        return self.world.arn("service", f"{cluster['clusterName']}/{name.rsplit('/', 1)[-1]}")

    def service(self, asked, records):
        found = records["service"].get(self.service_arn(self.cluster(asked, records), asked["service"]))
        if found is None or found["status"] == "INACTIVE":
            raise Refused("ServiceNotFoundException", "Service not found.")
        return found

    def task_arn(self, cluster, name):
        return self.world.arn("task", f"{cluster['clusterName']}/{name.rsplit('/', 1)[-1]}")

    def labels(self, arn):
        return [{"key": key, "value": value} for key, value in sorted(self.world.tags.get(arn, {}).items())]

    # Paging.

    def page(self, operation, asked, items, name):
        size, most = PAGES.get(operation, PAGE)
        size = asked.get("maxResults", size)
        if not 1 <= size <= most:
            raise parameter(f"maxResults must be between 1 and {most}.")
        # A token is of one call with one set of filters.
        said = json.dumps({key: value for key, value in asked.items() if key not in ("nextToken", "maxResults")},
                          sort_keys=True)
        start = None
        if "nextToken" in asked:
            try:
                start, of = json.loads(base64.b64decode(asked["nextToken"]))
            except ValueError:
                of = None
            if of != [operation, said]:
                raise parameter("Invalid token.")
        # The token names the last item, not its place: what comes and goes in between moves nothing.
        left = items if start is None else items[items.index(start) + 1:] if start in items else [
            item for item in items if item > start]
        answer = {name: left[:size]}
        if len(left) > size:
            token = json.dumps([left[size - 1], [operation, said]]).encode()
            answer["nextToken"] = base64.b64encode(token).decode()
        return answer

    def described(self, operation, names):
        if len(names) > MOST[operation]:
            raise parameter(f"{operation} takes at most {MOST[operation]} at a time.")
        if not names and operation != "DescribeClusters":
            raise parameter("The list of identifiers cannot be empty.")

    def told(self, operation, asked, field, kind, arn_of):
        """What is known of those that `field` names; their tags where they are asked for."""
        records = self.world.view()
        cluster = self.cluster(asked, records)
        self.described(operation, asked[field])
        found, failures = [], []
        for name in asked[field]:
            arn = arn_of(cluster, name)
            one = records[kind].get(arn)
            if one is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            elif "TAGS" in asked.get("include", []):
                found.append({**one, "tags": self.labels(arn)})
            else:
                found.append(one)
        return {field: found, "failures": failures}

    # Clusters and instances.

    def CreateCluster(self, asked):
        name = asked.get("clusterName", "default")
        arn = self.world.arn("cluster", name)
        record = {
            "clusterArn": arn, "clusterName": name, "status": "ACTIVE", "registeredContainerInstancesCount": 0,
            "runningTasksCount": 0, "pendingTasksCount": 0, "activeServicesCount": 0, "statistics": [], "tags": [],
            "settings": [{"name": "containerInsights", "value": "disabled"}], "capacityProviders": [],
            "defaultCapacityProviderStrategy": [],
        }
        with self.world.lock:
            found = self.world.find("cluster", arn) or self.world.put("cluster", arn, record)
            tags = {tag["key"]: tag.get("value", "") for tag in asked.get("tags", [])}
            self.world.tags.setdefault(arn, {}).update(tags)
        return {"cluster": {**found, "tags": self.labels(arn)}}

    def ListClusters(self, asked):
        return self.page("ListClusters", asked, sorted(self.world.view()["cluster"]), "clusterArns")

    def DescribeClusters(self, asked):
        records = self.world.view()
        names = asked.get("clusters") or ["default"]
        self.described("DescribeClusters", names)
        found, failures = [], []
        for name in names:
            arn = self.world.arn("cluster", name.rsplit("/", 1)[-1])
            one = records["cluster"].get(arn)
            if one is None:
                failures.append({"arn": arn, "reason": "MISSING"})
                continue
            mine = [task for task in records["task"].values() if task["clusterArn"] == arn]
            held = [one for one in records["service"].values() if one["clusterArn"] == arn]
            found.append({
                **one,
                "runningTasksCount": sum(task["lastStatus"] == "RUNNING" for task in mine),
                "pendingTasksCount": sum(task["lastStatus"] in tasks.LIFE[:3] for task in mine),
                "activeServicesCount": sum(one["status"] == "ACTIVE" for one in held),
                **({"tags": self.labels(arn)} if "TAGS" in asked.get("include", []) else {}),
            })
        return {"clusters": found, "failures": failures}

    def ListContainerInstances(self, asked):
        records = self.world.view()
        cluster = self.cluster(asked, records)
        mine = [arn for arn in sorted(records["instance"])
                if self.world.private[arn]["cluster"] == cluster["clusterArn"]]
        return self.page("ListContainerInstances", asked, mine, "containerInstanceArns")

    def DescribeContainerInstances(self, asked):
        records = self.world.view()
        cluster = self.cluster(asked, records)
        self.described("DescribeContainerInstances", asked["containerInstances"])
        found, failures = [], []
        for name in asked["containerInstances"]:
            arn = self.world.arn("container-instance", f"{cluster['clusterName']}/{name.rsplit('/', 1)[-1]}")
            one = records["instance"].get(arn)
            found.append(one) if one else failures.append({"arn": arn, "reason": "MISSING"})
        return {"containerInstances": found, "failures": failures}

    # Definitions.

    def RegisterTaskDefinition(self, asked):
        record = definitions.register(self.world, asked)
        return {"taskDefinition": record, "tags": self.labels(record["taskDefinitionArn"])}

    def DeregisterTaskDefinition(self, asked):
        return {"taskDefinition": definitions.deregister(self.world, asked["taskDefinition"])}

    def DescribeTaskDefinition(self, asked):
        record = definitions.find(self.world, self.world.view(), asked["taskDefinition"])
        tags = self.labels(record["taskDefinitionArn"]) if "TAGS" in asked.get("include", []) else []
        return {"taskDefinition": record, "tags": tags}

    def ListTaskDefinitions(self, asked):
        status, prefix = asked.get("status", "ACTIVE"), asked.get("familyPrefix")
        mine = [one for one in self.world.view()["definition"].values()
                if one["status"] == status and prefix in (None, one["family"])]
        mine.sort(key=lambda one: (one["family"], one["revision"]), reverse=asked.get("sort") == "DESC")
        return self.page("ListTaskDefinitions", asked, [one["taskDefinitionArn"] for one in mine],
                         "taskDefinitionArns")

    def ListTaskDefinitionFamilies(self, asked):
        status, prefix = asked.get("status", "ALL"), asked.get("familyPrefix", "")
        mine = {one["family"] for one in self.world.view()["definition"].values()
                if status in ("ALL", one["status"]) and one["family"].startswith(prefix)}
        return self.page("ListTaskDefinitionFamilies", asked, sorted(mine), "families")

    # Services.

    def CreateService(self, asked):
        record = services.create(self.world, self.cluster(asked, self.world.records), asked)
        return {"service": {**record, "tags": self.labels(record["serviceArn"])}}

    def UpdateService(self, asked):
        return {"service": services.update(self.world, self.service(asked, self.world.records), asked)}

    def DeleteService(self, asked):
        record = self.service(asked, self.world.records)
        return {"service": services.delete(self.world, record, asked.get("force", False))}

    def ListServices(self, asked):
        records = self.world.view()
        cluster = self.cluster(asked, records)
        wanted = {key: asked[key] for key in ("launchType", "schedulingStrategy") if key in asked}
        mine = [arn for arn, one in sorted(records["service"].items())
                if one["clusterArn"] == cluster["clusterArn"] and one["status"] != "INACTIVE"
                and all(one.get(key) == value for key, value in wanted.items())]
        return self.page("ListServices", asked, mine, "serviceArns")

    def DescribeServices(self, asked):
        return self.told("DescribeServices", asked, "services", "service", self.service_arn)

    # Tasks.

    def RunTask(self, asked):
        records = self.world.records
        cluster = self.cluster(asked, records)
        definition = definitions.usable(self.world, records, asked["taskDefinition"])
        services.network(definition, asked)
        count = asked.get("count", 1)
        if not 1 <= count <= 10:
            raise parameter("count must be between 1 and 10.")
        launch = asked.get("launchType", "EC2")
        if launch not in definition["compatibilities"]:
            raise client(f"Task definition does not support launch_type {launch}.")
        names = {one["name"] for one in definition["containerDefinitions"]}
        for one in asked.get("overrides", {}).get("containerOverrides", []):
            if one.get("name") not in names:
                raise parameter(f"Override for container named {one.get('name')} is not a container in the "
                                "TaskDefinition.")
        tags = {tag["key"]: tag.get("value", "") for tag in asked.get("tags", [])}
        made, failures = [], []
        for number in range(count):
            placed = services.place(self.world, cluster["clusterArn"], asked, number, launch)
            if placed is None:
                raise parameter("No Container Instances were found in your cluster.")
            subnet, zone, instance = placed
            task = tasks.make(
                self.world, definition, launch=launch, group=asked.get("group", f"family:{definition['family']}"),
                started_by=asked.get("startedBy"), subnet=subnet, zone=zone, instance=instance, tags=tags,
                overrides=asked.get("overrides"), cluster=cluster["clusterArn"])
            made.append({**task, "tags": self.labels(task["taskArn"])})
        return {"tasks": made, "failures": failures}

    def StopTask(self, asked):
        cluster = self.cluster(asked, self.world.records)
        arn = self.task_arn(cluster, asked["task"])
        if self.world.find("task", arn) is None:
            raise parameter("The referenced task was not found.")
        task = tasks.stop(self.world, arn, asked.get("reason", "Task stopped by user"))
        return {"task": {**task, "tags": self.labels(arn)}}

    def ListTasks(self, asked):
        records = self.world.view()
        cluster = self.cluster(asked, records)
        wished = asked.get("desiredStatus", "RUNNING")
        tests = {
            "family": lambda one, said: one["taskDefinitionArn"].rsplit("/", 1)[-1].rsplit(":", 1)[0] == said,
            "startedBy": lambda one, said: one.get("startedBy") == said,
            "launchType": lambda one, said: one.get("launchType") == said,
            "containerInstance": lambda one, said: one.get("containerInstanceArn", "").endswith(said),
            "serviceName": lambda one, said: one["group"] == f"service:{said.rsplit('/', 1)[-1]}",
        }
        if "serviceName" in asked and self.service_arn(cluster, asked["serviceName"]) not in records["service"]:
            raise Refused("ServiceNotFoundException", "Service not found.")
        mine = [arn for arn, one in sorted(records["task"].items())
                if one["clusterArn"] == cluster["clusterArn"] and one["desiredStatus"] == wished
                and all(test(one, asked[name]) for name, test in tests.items() if name in asked)]
        return self.page("ListTasks", asked, mine, "taskArns")

    def DescribeTasks(self, asked):
        return self.told("DescribeTasks", asked, "tasks", "task", self.task_arn)

    # Tags.

    def tagged(self, asked):
        arn = asked["resourceArn"]
        kind = arn.split(":")[5].split("/")[0]
        kind = {"task-definition": "definition", "container-instance": "instance"}.get(kind, kind)
        if self.world.find(kind, arn) is None:
            raise parameter("The specified resource cannot be found. Specify a valid resource.")
        return arn

    def TagResource(self, asked):
        with self.world.lock:
            tags = self.world.tags.setdefault(self.tagged(asked), {})
            tags.update({tag["key"]: tag.get("value", "") for tag in asked["tags"]})
        return {}

    def UntagResource(self, asked):
        with self.world.lock:
            tags = self.world.tags.get(self.tagged(asked), {})
            for key in asked["tagKeys"]:
                tags.pop(key, None)
        return {}

    def ListTagsForResource(self, asked):
        return {"tags": self.labels(self.tagged(asked))}


def partial(operation, answer, order):
    """An answer with some of its items moved to `failures`."""
    name = {"DescribeTasks": ("tasks", "taskArn"), "DescribeServices": ("services", "serviceArn"),
            "DescribeClusters": ("clusters", "clusterArn"),
            "DescribeContainerInstances": ("containerInstances", "containerInstanceArn")}.get(operation)
    if name is None:
        return answer
    items, key = name
    match, lost, kept = order.get("match"), [], []
    for number, one in enumerate(answer[items]):
        hit = match in one[key] if match else number % 2 == 0
        (lost if hit else kept).append(one)
    failures = [{"arn": one[key], "reason": order.get("reason", "MISSING")} for one in lost]
    return {**answer, items: kept, "failures": [*answer["failures"], *failures]}
