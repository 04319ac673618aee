"""Where tasks run: an instance's network, and what is made for each task in it."""

import contextlib

from . import agent_container
from .agent_net import Instance, Namespace, app_mesh

# Docker lowers this to 0 in the namespaces that it makes; ECS leaves it at the kernel's default in awsvpc.
UNPRIVILEGED = "net.ipv4.ip_unprivileged_port_start"
KERNEL_DEFAULT = "1024"


class Host:
    """An instance with its containers. `agent` has what all hosts share."""

    def __init__(self, agent, name):
        self.agent, self.engine, self.name = agent, agent.engine, name
        self.container = self._pause(name, agent.vpc.name, {"net.ipv4.ip_forward": "1"})
        self.instance = Instance(self.engine, name, self.container)

    def _pause(self, name, network, sysctls):
        """A container that does nothing but hold a namespace."""
        body = {
            "Image": self.agent.pause_image,
            "Entrypoint": ["sleep", "infinity"],
            "Cmd": [],
            "Labels": self.agent.labels,
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {"NetworkMode": network, "Sysctls": sysctls, "Init": True},
        }
        made = self.engine.create(f"{self.agent.prefix}-{name}", body)
        self.engine.start(made)
        return made

    def _pid(self, container):
        return self.engine.inspect(container)["State"]["Pid"]

    # A task comes.

    def settle(self, run):
        """Its namespace, in awsvpc; its volumes."""
        for spec in run.definition["containerDefinitions"]:
            if not self.engine.has_image(spec["image"]):
                raise ValueError(f"CannotPullContainerError: {spec['image']}: not found")
        for volume in run.definition.get("volumes", []):
            if not volume.get("host", {}).get("sourcePath"):
                self.engine.make_volume(self._volume(run, volume["name"]), self.agent.labels)
        if run.definition.get("networkMode") == "awsvpc":
            self._settle_awsvpc(run)

    def _settle_awsvpc(self, run):
        run.pause = self._pause(f"{run.id[:8]}-pause", self.agent.vpc.name, {UNPRIVILEGED: KERNEL_DEFAULT})
        seen = self.engine.inspect(run.pause)
        (run.interface,) = seen["NetworkSettings"]["Networks"].values()
        pid = seen["State"]["Pid"]
        self.instance.join_metadata(pid)
        lines = []
        for spec in run.definition["containerDefinitions"]:
            for control in spec.get("systemControls", []):
                lines.append(f"echo '{control['value']}' > /proc/sys/{control['namespace'].replace('.', '/')}")
        proxy = run.definition.get("proxyConfiguration")
        if proxy:
            lines.append(app_mesh(proxy["properties"]))
        if lines:
            Namespace(pid).run("\n".join(lines))

    def create(self, run, container):
        """Makes a container of a task; its id."""
        mode = run.definition.get("networkMode", "bridge")
        if mode == "bridge":
            self._settle_bridge(run, container)
        elif mode == "host":
            container.bindings = [self._binding(port, port["containerPort"]) for port in self._ports(container)]
        owner = {"awsvpc": run.pause, "bridge": container.pause, "host": self.container}[mode]
        volumes = {
            one["name"]: one.get("host", {}).get("sourcePath") or self._volume(run, one["name"])
            for one in run.definition.get("volumes", [])
        }
        environment = self.agent.environment(run, container)
        labels = {**self.agent.ecs_labels(run, container), **self.agent.labels}
        network = f"container:{owner}"
        spec = container.spec if mode == "awsvpc" else {**container.spec, "extraHosts": []}
        body = agent_container.body(spec, container.override, environment, labels, network, volumes, run.fargate)
        body["HostConfig"]["PidMode"] = run.definition.get("pidMode", "")
        return self.engine.create(f"{self.agent.prefix}-{run.id[:8]}-{container.name}", body)

    def _settle_bridge(self, run, container):
        """A namespace behind the instance's address, its ports mapped, its links in its hosts file."""
        container.pause = self._pause(f"{run.id[:8]}-{container.name}-net", "none", {})
        pid = self._pid(container.pause)
        container.address = self.instance.join_bridge(pid)
        for port in self._ports(container):
            protocol = port.get("protocol", "tcp")
            inside = port["containerPort"]
            number = self.instance.publish(container.address, inside, port.get("hostPort", 0), protocol)
            container.bindings.append(self._binding(port, number))
        lines = []
        for link in container.spec.get("links", []):
            name, _, alias = link.partition(":")
            lines.append(f"{run.containers[name].address} {alias or name}")
        lines += [f"{one['ipAddress']} {one['hostname']}" for one in container.spec.get("extraHosts", [])]
        with open(self.engine.inspect(container.pause)["HostsPath"], "a") as hosts:
            hosts.writelines(f"{line}\n" for line in [f"{container.address} {container.name}", *lines])

    @staticmethod
    def _ports(container):
        return [port for port in container.spec.get("portMappings", []) if "containerPort" in port]

    @staticmethod
    def _binding(port, number):
        protocol = port.get("protocol", "tcp")
        return {"bindIP": "0.0.0.0", "containerPort": port["containerPort"], "hostPort": number, "protocol": protocol}

    def _volume(self, run, name):
        return f"{self.agent.prefix}-{run.id[:8]}-{name}"

    # A task goes.

    def leave(self, run):
        """Takes away all that was made for it; the containers have ended."""
        for container in run.containers.values():
            for port in container.bindings if container.address else []:
                where = (container.address, port["containerPort"], port["hostPort"], port["protocol"])
                # At the end of all, the instance may be gone before its tasks.
                with contextlib.suppress(OSError):
                    self.instance.withdraw(*where)
            # Its log stays readable for a failing test until the agent goes.
            if container.docker and not self.agent.keep:
                self.engine.remove(container.docker)
            if container.pause:
                self.engine.remove(container.pause)
        if run.pause:
            self.engine.remove(run.pause)
        if not self.agent.keep:
            for volume in run.definition.get("volumes", []):
                if not volume.get("host", {}).get("sourcePath"):
                    self.engine.remove_volume(self._volume(run, volume["name"]))


