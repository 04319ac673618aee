"""The agent: runs tasks as real containers, as ECS's own does on EC2 and the platform on Fargate.

A driver of tasks, beside the stepper: once it is on, tasks that are made from then on are its. All that it makes
carries the label `orecs=<prefix>` and a name that begins with the prefix; `close` takes it away.
"""

import atexit
import subprocess
import threading
import uuid

from . import agent_metadata
from .agent_container import is_fargate
from .agent_engine import Engine
from .agent_host import Host
from .agent_net import METADATA, Vpc
from .agent_task import Run

LABEL = "orecs"


def arguments(parse):
    """What the simulator's command line has for it."""
    parse.add_argument("--containers", metavar="PREFIX", help="run tasks as containers whose names begin with this")
    parse.add_argument("--pause-image", default="outrigger-test-apps:dev", help="an image that has `sleep`")


def install(simulator):
    """Puts it into a simulator that is asked for containers; the first line then says where its network is."""
    options = simulator.options
    if not options.containers:
        return
    agent = Agent(simulator.world, options.containers, options.pause_image, simulator.issuer.issue)
    atexit.register(agent.close)
    simulator.world.drivers.insert(0, agent)
    simulator.addresses["vpc"] = {
        "network": agent.vpc.name,
        "bridge": agent.vpc.bridge,
        "gateway": agent.vpc.gateway,
        "controller": agent.vpc.fixed(10),
    }


class Agent:
    """`prefix` names all that is made; `pause_image` has `sleep`; `issue(task, role=…)` gives credentials."""

    def __init__(self, world, prefix, pause_image, issue):
        self.world, self.prefix, self.pause_image, self.issue = world, prefix, pause_image, issue
        self.engine = Engine()
        self.labels = {LABEL: prefix}
        self.vpc = Vpc(self.engine, f"{prefix}-vpc", self.labels)
        # Ended containers stay until `close`, so that a failing test can show their logs.
        self.keep = True
        self.hosts, self.servers = {}, []
        self.making = threading.Lock()
        self.runs, self.paths, self.roles = {}, {}, {}

    # As a driver; called with the world's lock held.

    def takes(self, arn):
        return arn in self.runs or self.world.find("task", arn)["lastStatus"] == "PROVISIONING"

    def created(self, arn):
        task = self.world.find("task", arn)
        definition = self.world.find("definition", task["taskDefinitionArn"])
        place = "fargate" if is_fargate(task) else task["containerInstanceArn"]
        run = self.runs[arn] = Run(self.world, lambda: self.host(place), task, definition)
        self.paths |= {container.key: (run, container) for container in run.containers.values()}
        run.start()

    def stopping(self, arn):
        self.runs[arn].stop()

    def tick(self, _now):
        """Nothing is done by the clock."""

    # What it does.

    def host(self, name):
        """An instance, by the ARN of its container instance; made when it is first asked for."""
        with self.making:
            if name not in self.hosts:
                host = self.hosts[name] = Host(self, f"host-{name.rpartition('/')[2][:8]}")
                self.servers.append(agent_metadata.Server(host.instance.socket, self.paths.get, self.credentials))
            return self.hosts[name]

    def credentials(self, key):
        """What the credentials endpoint answers for this id."""
        run, role = self.roles.get(key, (None, None))
        if run is None or run.record()["lastStatus"] == "STOPPED":
            return None
        return {"RoleArn": role, **self.issue(run.arn, role=role)}

    def environment(self, run, container):
        """What ECS adds to a container's environment."""
        added = {
            "ECS_CONTAINER_METADATA_URI": f"http://{METADATA}/v3/{container.key}",
            "ECS_CONTAINER_METADATA_URI_V4": f"http://{METADATA}/v4/{container.key}",
            "ECS_AGENT_URI": f"http://{METADATA}/api/{container.key}",
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE" if run.fargate else "AWS_ECS_EC2",
        }
        if run.fargate:
            added |= {"AWS_REGION": self.world.region, "AWS_DEFAULT_REGION": self.world.region}
        overrides = run.record()["overrides"]
        role = overrides.get("taskRoleArn") or run.definition.get("taskRoleArn")
        if role:
            known = next((key for key, (other, _) in self.roles.items() if other is run), None)
            key = known or str(uuid.uuid4())
            self.roles[key] = (run, role)
            added["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = f"/v2/credentials/{key}"
        return added

    ecs_labels = staticmethod(agent_metadata.ecs_labels)

    def close(self):
        """Takes away all that was made, whatever state it is in."""
        for server in self.servers:
            server.close()
        sweep(self.engine, f"{LABEL}={self.prefix}")


def sweep(engine, label):
    """Removes containers, networks and volumes that carry a label."""
    containers = engine.labelled(label)
    if containers:
        # The command line removes many at once.
        subprocess.run(["docker", "rm", "-fv", *containers], capture_output=True, timeout=60, check=False)
    for network in engine.networks_labelled(label):
        engine.remove_network(network)
    for volume in engine.volumes_labelled(label):
        engine.remove_volume(volume)
