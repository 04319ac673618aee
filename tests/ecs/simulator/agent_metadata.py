"""The task metadata endpoint version 4 and the credentials of task roles, in the shapes of EC2 and of Fargate."""

import http.server
import json
import re
import threading
import time

from . import agent_container

# The agent on an instance answers so many requests a second, and so many at once.
RATE, BURST = 40, 60
# What it answers where it has no such credentials.
UNKNOWN_ID = {
    "code": "InvalidIdInRequest", "message": "CredentialsV2Request: ID not found", "HTTPErrorCode": 400,
}
# When the record of a task got which time, as metadata calls it and as the API does.
TIMES = (
    ("PullStartedAt", "pullStartedAt"),
    ("PullStoppedAt", "pullStoppedAt"),
    ("ExecutionStoppedAt", "executionStoppedAt"),
)


class Server:
    """Answers on one instance. `find(key)` gives the run and container of a metadata path, `credentials(id)` those."""

    def __init__(self, socket, find, credentials):
        outer = self
        self.find, self.credentials = find, credentials
        self.tokens, self.filled = float(BURST), time.monotonic()
        self.lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A connection that says nothing must not keep its thread.
            timeout = 60

            def do_GET(self):
                status, body = outer.answer(self.path)
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_words):
                pass

        self.server = http.server.ThreadingHTTPServer(socket.getsockname(), Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = socket
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, name="metadata", daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def _has_token(self):
        with self.lock:
            now = time.monotonic()
            self.tokens = min(BURST, self.tokens + (now - self.filled) * RATE)
            self.filled = now
            self.tokens -= 1
            if self.tokens < 0:
                self.tokens = 0.0
                return False
            return True

    def answer(self, path):
        if not self._has_token():
            return 429, "Too Many Requests"
        if match := re.fullmatch(r"/v2/credentials/([\w-]+)", path):
            found = self.credentials(match[1])
            return (200, found) if found else (400, UNKNOWN_ID)
        match = re.fullmatch(r"/v4/([\w-]+)(/task|/taskWithTags|/stats|/task/stats)?", path)
        found = match and self.find(match[1])
        if not found:
            return 404, f"V4 metadata handler: unable to get container ID from path: {path}"
        run, container = found
        # What happens to the task waits while it is read.
        with run.moved:
            if match[2] is None:
                return 200, shown(run, container)
            return 200, {} if match[2].endswith("stats") else shown_task(run)


def time_of(date):
    return date.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def shown(run, container):
    """A container."""
    task = run.record()
    now = next(one for one in task["containers"] if one["name"] == container.name)
    body = {
        "DockerId": container.key if run.fargate else container.docker or "",
        "Name": container.name,
        "DockerName": container.name if run.fargate else f"ecs-{run.definition['family']}-{container.name}",
        "Image": container.spec["image"],
        "ImageID": container.seen["Image"] if container.seen else "",
        "Labels": {**container.spec.get("dockerLabels", {}), **ecs_labels(run, container)},
        "DesiredStatus": task["desiredStatus"],
        # An image that is there and no process yet is CREATED to the agent.
        "KnownStatus": "CREATED" if now["lastStatus"] == "PENDING" else now["lastStatus"],
        "Limits": {"CPU": max(container.spec.get("cpu", 0), 2)},
        "Type": "NORMAL",
        "ContainerARN": container.arn,
        "Networks": [_network(run, container)],
    }
    if "memory" in container.spec:
        body["Limits"]["Memory"] = container.spec["memory"]
    if container.seen:
        body["CreatedAt"] = container.seen["Created"]
        body["StartedAt"] = container.seen["State"]["StartedAt"]
    if container.check:
        body["Health"] = {"status": container.health}
    if container.ended:
        body["ExitCode"] = container.exit
    if container.bindings:
        body["Ports"] = [
            {"ContainerPort": one["containerPort"], "HostPort": one["hostPort"], "Protocol": one["protocol"],
             "HostIp": "0.0.0.0"} for one in container.bindings
        ]
    if "restartPolicy" in container.spec:
        body["RestartCount"] = container.restarts
    if run.fargate:
        body["Snapshotter"] = "overlayfs"
    return body


def shown_task(run):
    """The task: on EC2 its cluster has a name, on Fargate an ARN."""
    task = run.record()
    cluster = task["clusterArn"]
    body = {
        "Cluster": cluster if run.fargate else cluster.rpartition("/")[2],
        "TaskARN": run.arn,
        "Family": run.definition["family"],
        "Revision": str(run.definition["revision"]),
        "DesiredStatus": task["desiredStatus"],
        # What only the service knows is not the agent's: it calls both of these RUNNING.
        "KnownStatus": {"PROVISIONING": "NONE", "DEACTIVATING": "RUNNING"}.get(task["lastStatus"], task["lastStatus"]),
        "AvailabilityZone": task.get("availabilityZone", ""),
        "LaunchType": task.get("launchType", "EC2"),
        "Containers": [shown(run, one) for one in run.containers.values() if one.started or one.docker],
    }
    body |= {key: time_of(task[name]) for key, name in TIMES if name in task}
    if run.fargate:
        cpu, memory = int(run.definition.get("cpu", 256)), int(run.definition.get("memory", 512))
        body["Limits"] = {"CPU": cpu / 1024, "Memory": memory}
        body["ClockDrift"] = {
            "ClockErrorBound": 0.3,
            "ReferenceTimestamp": body["PullStartedAt"],
            "ClockSynchronizationStatus": "SYNCHRONIZED",
        }
        body["EphemeralStorageMetrics"] = {"Utilized": 261, "Reserved": 20496}
    else:
        body["VPCID"] = "vpc-0123456789abcdef0"
        if task["group"].startswith("service:"):
            body["ServiceName"] = task["group"].partition(":")[2]
        if run.interface:
            body["Containers"].append(_pause(run, task))
    return body


def _pause(run, task):
    """Of an awsvpc task on EC2 the hidden container that owns the namespace is shown too."""
    return {
        "DockerId": run.pause,
        "Name": "~internal~ecs~pause",
        "DockerName": f"ecs-{run.definition['family']}-internalecspause",
        "Image": "amazon/amazon-ecs-pause:0.1.0",
        "ImageID": "",
        "DesiredStatus": "RESOURCES_PROVISIONED",
        "KnownStatus": "RESOURCES_PROVISIONED",
        "Limits": {"CPU": 0, "Memory": 0},
        "Type": "CNI_PAUSE",
        "Networks": [_network(run, None)],
    }


def _network(run, container):
    mode = run.definition.get("networkMode", "bridge")
    if mode != "awsvpc":
        address = container.address or run.host.instance.address
        return {"NetworkMode": mode, "IPv4Addresses": [address] if mode == "bridge" else []}
    interface, vpc = run.interface, run.host.agent.vpc
    address, prefix = interface["IPAddress"], vpc.subnet.prefixlen
    network = {
        "NetworkMode": "awsvpc",
        "IPv4Addresses": [address],
        "AttachmentIndex": 0,
        "MACAddress": interface["MacAddress"],
        "IPv4SubnetCIDRBlock": str(vpc.subnet),
        "PrivateDNSName": f"ip-{address.replace('.', '-')}.{run.world.region}.compute.internal",
        "SubnetGatewayIpv4Address": f"{vpc.gateway}/{prefix}",
    }
    if run.fargate:
        network["DomainNameServers"] = [str(vpc.subnet[2])]
    return network


def ecs_labels(run, container):
    """What ECS adds to a container's labels."""
    prefix = "com.amazonaws.ecs."
    cluster = run.record()["clusterArn"]
    return {
        f"{prefix}cluster": cluster if run.fargate else cluster.rpartition("/")[2],
        f"{prefix}container-name": container.name,
        f"{prefix}task-arn": run.arn,
        f"{prefix}task-definition-family": run.definition["family"],
        f"{prefix}task-definition-version": str(run.definition["revision"]),
    }
