"""The Docker Engine's API over its Unix socket, as far as the agent speaks it.

The command line cannot do all that a task definition says: a health command without a shell, say, or an empty entry
point.
"""

import http.client
import json
import os
import socket
from urllib.parse import quote, urlencode

SOCKET = "/var/run/docker.sock"


class Refused(Exception):
    """What the engine answered instead of doing it."""

    def __init__(self, status, text):
        super().__init__(f"{status} {text}")
        self.status = status


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """Calls are blocking and may come from any thread; each has its own connection."""

    def __init__(self):
        host = os.environ.get("DOCKER_HOST", "")
        self.path = host.removeprefix("unix://") if host.startswith("unix://") else SOCKET

    def call(self, method, path, body=None, timeout=120, **query):
        """The answer's bytes; None for `timeout` waits for ever."""
        connection = _Connection(self.path, timeout)
        try:
            text = None if body is None else json.dumps(body)
            path = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
            if answer.status >= 400:
                raise Refused(answer.status, data.decode(errors="replace").strip())
            return data
        finally:
            connection.close()

    def ask(self, method, path, body=None, **query):
        """The answer, read as JSON."""
        return json.loads(self.call(method, path, body, **query))

    def has_image(self, image):
        try:
            self.call("GET", f"/images/{quote(image, safe='/:')}/json")
            return True
        except Refused:
            return False

    def create(self, name, body):
        """Makes a container; its id."""
        return self.ask("POST", "/containers/create", body, name=name)["Id"]

    def start(self, container):
        self.call("POST", f"/containers/{container}/start")

    def inspect(self, container):
        return self.ask("GET", f"/containers/{container}/json")

    def wait(self, container):
        """Waits for its end; the exit code."""
        body = self.call("POST", f"/containers/{container}/wait", timeout=None)
        return json.loads(body)["StatusCode"]

    def stop(self, container, seconds):
        """SIGTERM, and SIGKILL after these seconds; returns when it is gone."""
        self._quietly("POST", f"/containers/{container}/stop", timeout=seconds + 60, t=seconds)

    def remove(self, container):
        self._quietly("DELETE", f"/containers/{container}", force="true", v="true")

    def execute(self, container, words, timeout):
        """Runs a command in it; its exit code, or none where it took too long or the container is gone."""
        try:
            body = {"Cmd": words, "AttachStdout": True, "AttachStderr": True}
            run = self.ask("POST", f"/containers/{container}/exec", body)["Id"]
            self.call("POST", f"/exec/{run}/start", {"Detach": False, "Tty": False}, timeout=timeout)
            return self.ask("GET", f"/exec/{run}/json")["ExitCode"]
        except (Refused, OSError, http.client.HTTPException):
            return None

    def labelled(self, label):
        """Ids of all containers that carry a label, ended ones too."""
        filters = json.dumps({"label": [label]})
        return [one["Id"] for one in self.ask("GET", "/containers/json", all="true", filters=filters)]

    def make_network(self, name, labels, subnet, hosts, router):
        """A bridge network that hands out the addresses `hosts` of `subnet`; both CIDR."""
        ipam = {"Config": [{"Subnet": subnet, "IPRange": hosts, "Gateway": router}]}
        body = {"Name": name, "CheckDuplicate": True, "Labels": labels, "IPAM": ipam}
        return self.ask("POST", "/networks/create", body)["Id"]

    def remove_network(self, name):
        self._quietly("DELETE", f"/networks/{name}")

    def networks_labelled(self, label):
        return [one["Id"] for one in self.ask("GET", "/networks", filters=json.dumps({"label": [label]}))]

    def make_volume(self, name, labels):
        self.call("POST", "/volumes/create", {"Name": name, "Labels": labels})

    def remove_volume(self, name):
        self._quietly("DELETE", f"/volumes/{name}", force="true")

    def volumes_labelled(self, label):
        found = self.ask("GET", "/volumes", filters=json.dumps({"label": [label]}))["Volumes"]
        return [one["Name"] for one in found or []]

    def _quietly(self, method, path, **query):
        """For what may be gone already."""
        try:
            self.call(method, path, **query)
        except (Refused, OSError):
            pass
