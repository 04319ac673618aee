"""The service scheduler: keeps each service at its desired count, rolls deployments, breaks and rolls back."""

import math

from . import services, tasks

# Bounds of the circuit breaker's threshold, which is half the desired count.
BREAKER = (3, 200)
# Seconds to wait after a failed task, doubled up to the most; the first few are free.
FREE, FIRST_WAIT, MOST_WAIT = 3, 0.5, 60.0
# Every service is looked at this often, besides when something of it changes.
LOOK = 1.0


class Scheduler:
    """A driver that takes no task: it makes and stops them."""

    def __init__(self, world):
        self.world = world
        self._dirty = set()
        self._looked = 0.0
        world.listeners.append(self._hear)

    def takes(self, _arn):
        return False

    def _hear(self, change):
        if change.kind == "service":
            self._dirty.add(change.key)
        elif change.kind == "task":
            owner = self.world.private[change.key].get("service")
            if owner:
                self._dirty.add(owner)
                self._count(owner, change)

    def tick(self, now):
        if now - self._looked > LOOK:
            self._looked = now
            self._dirty.update(self.world.records["service"].copy())
        dirty, self._dirty = self._dirty, set()
        for arn in dirty:
            with self.world.lock:
                if self.world.find("service", arn):
                    self._settle(arn)

    def _count(self, arn, change):
        """Counts tasks that failed to start or became unhealthy, against their deployment."""
        before, after = change.before, change.after
        if before is None or after is None:
            return
        failed = after["lastStatus"] == "STOPPED" != before["lastStatus"] and "startedAt" not in after and (
            after.get("stopCode") not in ("ServiceSchedulerInitiated", "UserInitiated"))
        unhealthy = after["healthStatus"] == "UNHEALTHY" != before["healthStatus"]
        with self.world.lock:
            service = self.world.find("service", arn)
            ours = self.world.private[after.get("startedBy", "")]
            if service is None:
                return
            if failed or unhealthy:
                ours["tried"] = ours.get("tried", 0) + 1
                more = max(0, ours["tried"] - FREE)
                if more:
                    ours["wait"] = self.world.clock.now() + min(MOST_WAIT, FIRST_WAIT * 2 ** (more - 1))
                deployments = [{**one, "failedTasks": one["failedTasks"] + 1} if one["id"] == after.get("startedBy")
                               else one for one in service["deployments"]]
                self.world.change("service", arn, deployments=deployments)
            elif self._good(after):
                ours["wait"] = 0.0

    def _good(self, task):
        return task["lastStatus"] == "RUNNING" and task["desiredStatus"] == "RUNNING" and (
            task["healthStatus"] == "HEALTHY" or not self._checked(task))

    def _checked(self, task):
        definition = self.world.find("definition", task["taskDefinitionArn"])
        return any("healthCheck" in one and one.get("essential", True) for one in definition["containerDefinitions"])

    def _settle(self, arn):
        service = self._counted(arn)
        if service["status"] == "INACTIVE" or not service["deployments"]:
            return
        if service["deploymentController"]["type"] == "EXTERNAL":
            return
        service = self._break(service)
        primary = service["deployments"][0]
        alive = [task for task in self.world.tasks_of(arn) if task["desiredStatus"] == "RUNNING"]
        self._replace(alive)
        alive = [task for task in alive if task["healthStatus"] != "UNHEALTHY"]
        mine = [task for task in alive if task.get("startedBy") == primary["id"]]
        old = [task for task in alive if task.get("startedBy") != primary["id"]]
        desired = service["desiredCount"]
        bounds = service["deploymentConfiguration"]
        least = math.ceil(desired * bounds["minimumHealthyPercent"] / 100)
        most = max(math.floor(desired * bounds["maximumPercent"] / 100), desired if not old else 0)
        missing = max(0, desired - len(mine))
        room = max(0, most - len(alive))
        if self.world.clock.now() >= self.world.private[primary["id"]].get("wait", 0.0):
            self._start(service, primary, min(missing, room))
        for task in mine[desired:]:
            self._stop(task, f"Scaling activity initiated by (deployment {primary['id']})")
        good = sum(map(self._good, alive))
        needed = max(good - desired, missing - room)
        allowed = max(0, good - least)
        waiting = [task for task in old if not self._good(task)]
        ready = [task for task in old if self._good(task)]
        if desired == 0 or sum(map(self._good, mine)) >= desired:
            waiting, needed, allowed = old, 0, 0
        elif room >= missing and needed <= 0:
            waiting = []
        for task in waiting + ready[:max(0, min(needed, allowed))]:
            self._stop(task, f"Scaling activity initiated by (deployment {task.get('startedBy')})")
        self._finish(self.world.find("service", arn))

    def _counted(self, arn):
        """The service with counts as its tasks stand, put only when they changed."""
        service = self.world.find("service", arn)
        there = [task for task in self.world.tasks_of(arn) if task["lastStatus"] != "STOPPED"]
        deployments = []
        for one in service["deployments"]:
            mine = [task for task in there if task.get("startedBy") == one["id"]]
            running = sum(task["lastStatus"] == "RUNNING" for task in mine)
            pending = sum(task["lastStatus"] in tasks.LIFE[:3] for task in mine)
            desired = service["desiredCount"] if one["status"] == "PRIMARY" else 0
            if one["status"] == "ACTIVE" and not mine:
                continue
            new = {"runningCount": running, "pendingCount": pending, "desiredCount": desired}
            if new.items() <= one.items():
                deployments.append(one)
            else:
                deployments.append({**one, **new, "updatedAt": self.world.clock.date()})
        new = {
            "deployments": deployments,
            "runningCount": sum(one["runningCount"] for one in deployments),
            "pendingCount": sum(one["pendingCount"] for one in deployments),
        }
        if any(service[key] != value for key, value in new.items()):
            service = self.world.change("service", arn, **new)
        return service

    def _start(self, service, primary, count):
        for _ in range(count):
            if not services.start(self.world, service, primary):
                name = service["serviceName"]
                message = (f"(service {name}) was unable to place a task because no container instance met all of "
                           "its requirements.")
                latest = self.world.find("service", service["serviceArn"])
                if not latest["events"] or latest["events"][0]["message"] != message:
                    services.note(self.world, latest, message)
                    services.tell(self.world, service, "ECS Service Action", "SERVICE_TASK_PLACEMENT_FAILURE")
                return

    def _replace(self, alive):
        for task in alive:
            if task["healthStatus"] == "UNHEALTHY":
                self._stop(task, "Task failed container health checks")

    def _stop(self, task, reason):
        tasks.stop(self.world, task["taskArn"], reason, "ServiceSchedulerInitiated")

    def _break(self, service):
        """Ends a deployment that fails too often, and rolls back where that is wished."""
        primary = service["deployments"][0]
        breaker = service["deploymentConfiguration"]["deploymentCircuitBreaker"]
        low, high = BREAKER
        threshold = min(high, max(low, math.ceil(service["desiredCount"] / 2)))
        if not breaker["enable"] or primary["rolloutState"] != "IN_PROGRESS" or primary["failedTasks"] < threshold:
            return service
        if self.world.private[primary["id"]].get("rollback"):
            return service
        reason = "ECS deployment circuit breaker: tasks failed to start."
        failed = {**primary, "rolloutState": "FAILED", "rolloutStateReason": reason}
        services.tell(self.world, service, "ECS Deployment State Change", "SERVICE_DEPLOYMENT_FAILED",
                      deploymentId=primary["id"], reason=reason)
        others = service["deployments"][1:]
        good = self.world.private[service["serviceArn"]].get("completed")
        arn = service["serviceArn"]
        if not breaker["rollback"] or good is None:
            self.world.private[primary["id"]]["wait"] = math.inf
            return self.world.change("service", arn, deployments=[failed, *others])
        service = {**service, "taskDefinition": good["taskDefinition"]}
        back = next((one for one in others if one["id"] == good["id"]), None) or services.deployment(
            self.world, {**service, **{k: good[k] for k in ("networkConfiguration",) if k in good}}, {})
        self.world.private[back["id"]]["rollback"] = True
        back = {**back, "status": "PRIMARY", "rolloutState": "IN_PROGRESS", "failedTasks": 0, "rolloutStateReason":
                f"ECS deployment circuit breaker: rolling back to deploymentId {good['id']}."}
        failed = {**failed, "status": "ACTIVE", "desiredCount": 0}
        others = [one for one in others if one["id"] != back["id"]]
        return self.world.change("service", arn, taskDefinition=good["taskDefinition"],
                                 deployments=[back, failed, *others])

    def _finish(self, service):
        """A deployment is complete when its tasks are good and no other's are left."""
        arn, name = service["serviceArn"], service["serviceName"]
        there = [task for task in self.world.tasks_of(arn) if task["lastStatus"] != "STOPPED"]
        if service["status"] == "DRAINING" and not there:
            self.world.change("service", arn, status="INACTIVE", deployments=[])
            return
        primary = service["deployments"][0]
        good = sum(self._good(task) for task in there if task.get("startedBy") == primary["id"])
        if good != service["desiredCount"] or len(there) != good or primary["rolloutState"] != "IN_PROGRESS":
            return
        reason = f"ECS deployment {primary['id']} completed."
        done = {**primary, "rolloutState": "COMPLETED", "rolloutStateReason": reason}
        self.world.private[arn]["completed"] = done
        service = self.world.change("service", arn, deployments=[done])
        service = services.note(self.world, service, f"(service {name}) has reached a steady state.")
        services.note(self.world, service, f"(service {name}) (deployment {primary['id']}) deployment completed.")
        services.tell(self.world, service, "ECS Deployment State Change", "SERVICE_DEPLOYMENT_COMPLETED",
                      deploymentId=primary["id"], reason=reason)
        services.tell(self.world, service, "ECS Service Action", "SERVICE_STEADY_STATE")
