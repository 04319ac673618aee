"""The life of one task: its containers start in order, are probed, and stop in the reverse order."""

import threading
import time
import uuid

from . import agent_container, agent_order, tasks
from .agent_engine import Refused

# Until the first good probe this is asked so often, whatever the definition's interval: tests wait for it.
FIRST_PROBES = 0.4
# What `restartAttemptPeriod` is multiplied by, for the same reason: its least, a minute, is over before the first probe,
# so that what was HEALTHY once is started again.
RESTART_PACE = 1 / 240
# The agent's exit code of a container whose turn never came.
NEVER_STARTED = 143


class Container:
    """One container of a task, and how far it is."""

    def __init__(self, spec, override, arn):
        self.spec, self.override, self.name, self.arn = spec, override, spec["name"], arn
        self.essential = spec.get("essential", True)
        self.check = agent_container.health(spec)
        self.starting = self.started = self.ended = False
        self.exit = self.docker = self.seen = None
        self.health = "UNKNOWN"
        # Where Docker has it in bridge mode: each container has a namespace of its own.
        self.pause = self.address = None
        self.bindings = []
        self.restarts = 0
        self.started_at = self.finished_at = 0.0
        # Its id in metadata's paths.
        self.key = str(uuid.uuid4())


class Run:
    """A task under way. `find_host` says where it runs, and may take its time.

    One lock guards it all, the world's: orders come with it held, and what happens is told with it held.
    """

    def __init__(self, world, find_host, task, definition):
        self.world, self.find_host, self.definition = world, find_host, definition
        self.host = None
        self.arn = task["taskArn"]
        self.id = self.arn.rpartition("/")[2]
        self.fargate = agent_container.is_fargate(task)
        overrides = {one["name"]: one for one in task["overrides"].get("containerOverrides", [])}
        specs = {spec["name"]: spec for spec in definition["containerDefinitions"]}
        self.containers = {
            one["name"]: Container(specs[one["name"]], overrides.get(one["name"], {}), one["containerArn"])
            for one in task["containers"]
        }
        if self.fargate:
            for number, container in enumerate(self.containers.values()):
                container.key = f"{self.id}-{2531612879 + number * 7919}"
        self.wanted = {}
        self.moved = threading.Condition(world.lock)
        self.stopping = False
        # The container that owns the namespace in awsvpc mode, and its interface in the VPC.
        self.pause = self.interface = None

    # Orders, with the world's lock held.

    def start(self):
        threading.Thread(target=self._live, name=self.id, daemon=True).start()

    def stop(self):
        """Metadata says STOPPED from now on; then the signals go out, each in its turn."""
        self.stopping = True
        self.moved.notify_all()

    # What happens.

    def record(self):
        return self.world.find("task", self.arn)

    def _fail(self, reason, code="TaskFailedToStart"):
        with self.moved:
            tasks.stop(self.world, self.arn, reason, code)

    def _live(self):
        try:
            reason = agent_container.refusal(self.record(), self.definition)
            if reason:
                raise ValueError(reason)
            self.wanted = agent_order.dependencies(self.definition)
            self.host = self.find_host()
            self.host.settle(self)
            with self.moved:
                tasks.move(self.world, self.arn, "PENDING")
                if self.interface:
                    tasks.attach(self.world, self.arn, self.interface["IPAddress"])
        except (ValueError, OSError, Refused) as error:
            self._fail(str(error))
        else:
            self._carry_all()
        if self.host:
            self.host.leave(self)
        with self.moved:
            tasks.move(self.world, self.arn, "STOPPED")

    def _carry_all(self):
        carriers = self._each(self._carry)
        with self.moved:
            self.moved.wait_for(lambda: self.stopping)
            tasks.move(self.world, self.arn, "DEACTIVATING")
            tasks.move(self.world, self.arn, "STOPPING")
        for thread in self._each(self._stop_one) + carriers:
            thread.join()
        with self.moved:
            tasks.move(self.world, self.arn, "DEPROVISIONING")

    def _each(self, work):
        threads = [
            threading.Thread(target=work, args=[one], name=f"{self.id}/{one.name}", daemon=True)
            for one in self.containers.values()
        ]
        for thread in threads:
            thread.start()
        return threads

    def _stop_one(self, container):
        """Nothing is said to a container while another that waited for it still runs."""
        later = [self.containers[name] for name in agent_order.dependents(self.wanted, container.name)]
        with self.moved:
            self.moved.wait_for(lambda: all(other.ended for other in later) and not container.starting)
            docker = None if container.ended else container.docker
        if docker:
            self.host.engine.stop(docker, agent_container.stop_timeout(container.spec))

    # One container.

    def _carry(self, container):
        """From its turn to its end."""
        reason = self._await_turn(container)
        if reason:
            container.exit = NEVER_STARTED
        else:
            reason = self._run_once(container)
        while reason is None and self._may_restart(container):
            container.restarts += 1
            reason = self._run_once(container)
        with self.moved:
            container.ended = True
            fields = {"lastStatus": "STOPPED"}
            if container.exit is not None:
                fields["exitCode"] = container.exit
            if reason:
                fields["reason"] = reason
            tasks.change_container(self.world, self.arn, container.name, **fields)
            if container.essential and not self.stopping:
                ended = ("Essential container in task exited", "EssentialContainerExited")
                self._fail(*((reason,) if reason else ended))
            self._is_running()
            self.moved.notify_all()

    def _await_turn(self, container):
        """Waits for what it depends on; why it will never start, if so."""
        for name, condition in self.wanted[container.name]:
            on = self.containers[name]
            with self.moved:
                while not self.stopping:
                    come = agent_order.met(condition, on)
                    if come:
                        break
                    if come is False:
                        return f"{container.name}: dependency {name} will never be {condition}"
                    left = agent_order.time_left(condition, on, time.time())
                    if left is not None and left <= 0:
                        return f"{container.name}: dependency {name} has timed out: it is not yet {condition}"
                    self.moved.wait(left)
        return None

    def _run_once(self, container):
        """Starts it and waits for its end; why it did not start, if so."""
        with self.moved:
            if self.stopping:
                return None
            container.starting = True
        try:
            if container.docker is None:
                container.docker = self.host.create(self, container)
            self.host.engine.start(container.docker)
            container.seen = self.host.engine.inspect(container.docker)
        except (Refused, OSError) as error:
            with self.moved:
                container.starting = False
                self.moved.notify_all()
            return f"{container.name}: CannotStartContainerError: {error}"
        with self.moved:
            container.starting, container.started, container.started_at = False, True, time.time()
            runtime = container.key if self.fargate else container.docker
            fields = {"lastStatus": "RUNNING", "runtimeId": runtime}
            if container.bindings:
                fields["networkBindings"] = container.bindings
            tasks.change_container(self.world, self.arn, container.name, **fields)
            self._is_running()
            self.moved.notify_all()
        over = threading.Event()
        if container.check:
            threading.Thread(target=self._probe, args=[container, over], daemon=True).start()
        container.exit = self.host.engine.wait(container.docker)
        container.finished_at = time.time()
        over.set()
        return None

    def _may_restart(self, container):
        policy = container.spec.get("restartPolicy", {})
        if not policy.get("enabled") or self.stopping or not container.started:
            return False
        least = policy.get("restartAttemptPeriod", 300) * RESTART_PACE
        long_enough = container.finished_at - container.started_at >= least
        return long_enough and container.exit not in policy.get("ignoredExitCodes", [])

    def _is_running(self):
        """RUNNING once every container has started."""
        there = all(one.started or (one.ended and not one.essential) for one in self.containers.values())
        if there and self.record()["lastStatus"] == "PENDING" and not self.stopping:
            tasks.move(self.world, self.arn, "RUNNING")

    def _probe(self, container, over):
        """Asks the definition's own check until the container ends.

        The first good answer is looked for at a faster pace than ECS's; failures count at the definition's.
        """
        check, failures = container.check, 0
        first, *rest = check["command"]
        words = ["/bin/sh", "-c", *rest] if first == "CMD-SHELL" else rest if first == "CMD" else [first, *rest]
        begun = counted = time.monotonic()
        while not over.wait(check["interval"] if container.health != "UNKNOWN" else FIRST_PROBES):
            good = self.host.engine.execute(container.docker, words, check["timeout"]) == 0
            now = time.monotonic()
            if good:
                failures = 0
            elif now - begun >= check["startPeriod"] and now - counted >= check["interval"] * 0.9:
                failures, counted = failures + 1, now
            health = "HEALTHY" if good else "UNHEALTHY" if failures >= check["retries"] else container.health
            with self.moved:
                if health != container.health and not container.ended:
                    container.health = health
                    tasks.change_container(self.world, self.arn, container.name, healthStatus=health)
                    self.moved.notify_all()
