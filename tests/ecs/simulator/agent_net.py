"""The networks of the simulated hosts: a VPC, instances in it, and the namespaces of tasks.

The VPC is a bridge network of Docker; an elastic network interface is a container's end of it. An instance is a
namespace of its own in the VPC, with the two bridges that a real one has: `docker0` for tasks in bridge mode, behind
the instance's address, and `ecs-bridge`, over which every task reaches 169.254.170.2. Nothing is changed in the
namespace of the machine that runs all this.
"""

import ctypes
import ipaddress
import random
import socket
import subprocess
import threading

from .agent_engine import Refused

# Where metadata and credentials are.
METADATA = "169.254.170.2"
# A bridge without an address of its own takes the lowest of its ports', and another as these come and go: who is on it
# then sends to nobody, until its kernel asks again.
METADATA_MAC, DOCKER_MAC = "02:45:43:53:00:01", "02:42:ac:11:00:01"
# Ports that Docker hands out for `hostPort: 0`.
FIRST_HOST_PORT = 32768
CLONE_NEWNET = 0x40000000


class Namespace:
    """The network namespace of a running process."""

    def __init__(self, pid):
        self.pid = pid
        self.path = f"/proc/{pid}/ns/net"

    def run(self, script):
        """Runs lines of shell in it, as root of this machine; the first that fails ends it."""
        words = ["nsenter", f"--net={self.path}", "sh", "-ec", script]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise OSError(f"{script.strip()}: {done.stderr.strip()}")
        return done.stdout

    def listen(self, address, port):
        """A listening TCP socket in it, for this process, which stays where it is."""
        made = []

        def enter():
            try:
                with open(self.path) as handle:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"setns {self.path}")
                made.append(socket.create_server((address, port), backlog=128))
            except OSError as error:
                made.append(error)

        # Namespaces belong to threads: this one ends in the other namespace.
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]


class Vpc:
    """A network with one subnet, whose router is this machine."""

    def __init__(self, engine, name, labels):
        self.engine, self.name = engine, name
        for _ in range(64):
            second, third = random.randrange(16, 240), random.randrange(256)
            subnet = ipaddress.ip_network(f"10.{second}.{third}.0/24")
            # The lower half is for whoever wants an address that stays.
            _, hosts = subnet.subnets()
            try:
                self.id = engine.make_network(name, labels, str(subnet), str(hosts), str(subnet[1]))
                break
            except Refused as refused:
                if "overlap" not in str(refused):
                    raise
        else:
            raise OSError("no free subnet in 10.0.0.0/8")
        self.subnet = subnet
        self.gateway = str(subnet[1])
        self.bridge = f"br-{self.id[:12]}"

    def fixed(self, number):
        """An address that nobody is given; 2 to 126."""
        return str(self.subnet[number])


class Instance:
    """An EC2 instance, or what hosts Fargate tasks; `container` owns its namespace and has an interface in the VPC."""

    def __init__(self, engine, name, container):
        self.name, self.container = name, container
        seen = engine.inspect(container)
        self.namespace = Namespace(seen["State"]["Pid"])
        (self.interface,) = seen["NetworkSettings"]["Networks"].values()
        self.address = self.interface["IPAddress"]
        self.lock = threading.Lock()
        self.links = 0
        self.next_port = FIRST_HOST_PORT
        self.namespace.run(
            f"""
            ip link add ecs-bridge address {METADATA_MAC} type bridge
            ip address add 169.254.172.1/22 dev ecs-bridge
            ip address add {METADATA}/32 dev ecs-bridge
            ip link set ecs-bridge up
            ip link add docker0 address {DOCKER_MAC} type bridge
            ip address add 172.17.0.1/16 dev docker0
            ip link set docker0 up
            iptables -w -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
            iptables -w -t nat -A POSTROUTING -s 172.17.0.0/16 -o docker0 -m conntrack --ctstate DNAT -j MASQUERADE
            """
        )
        self.socket = self.namespace.listen(METADATA, 80)

    def _next(self):
        with self.lock:
            self.links += 1
            return self.links + 1

    def join_metadata(self, pid):
        """Gives an awsvpc task its way to 169.254.170.2, as the plugin ecs-bridge does."""
        number = self._next()
        address = ipaddress.ip_address("169.254.172.0") + number
        self.namespace.run(
            f"""
            ip link add ecs{number} type veth peer name ecs-eth0 netns {pid}
            ip link set ecs{number} master ecs-bridge up
            """
        )
        Namespace(pid).run(
            f"""
            ip address add {address}/22 dev ecs-eth0
            ip link set ecs-eth0 up
            ip route add {METADATA}/32 via 169.254.172.1 dev ecs-eth0
            """
        )

    def join_bridge(self, pid):
        """Puts a namespace behind `docker0`; its address there."""
        number = self._next()
        address = str(ipaddress.ip_address("172.17.0.0") + number)
        self.namespace.run(
            f"""
            ip link add veth{number} type veth peer name eth0 netns {pid}
            ip link set veth{number} master docker0 up
            """
        )
        Namespace(pid).run(
            f"""
            ip address add {address}/16 dev eth0
            ip link set eth0 up
            ip route add default via 172.17.0.1
            """
        )
        return address

    def publish(self, address, port, wanted=0, protocol="tcp"):
        """Maps a port of the instance to one behind `docker0`; its number."""
        with self.lock:
            number = wanted or self.next_port
            if not wanted:
                self.next_port += 1
        rule = f"-p {protocol} --dport {number} -j DNAT --to-destination {address}:{port}"
        self.namespace.run(f"iptables -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL {rule}")
        return number

    def withdraw(self, address, port, number, protocol="tcp"):
        rule = f"-p {protocol} --dport {number} -j DNAT --to-destination {address}:{port}"
        self.namespace.run(f"iptables -w -t nat -D PREROUTING -m addrtype --dst-type LOCAL {rule}")


def app_mesh(properties):
    """The rules of `proxyConfiguration`, as the plugin aws-appmesh sets them (amazon-vpc-cni-plugins); lines of shell.

    The agent adds the two link-local addresses to those that the definition ignores.
    """
    said = {one["name"]: one["value"] for one in properties}
    listed = lambda name: [part.strip() for part in said.get(name, "").split(",") if part.strip()]
    lines = ["ipt() { iptables -w -t nat \"$@\"; }", "ipt -N APPMESH_EGRESS"]
    for kind, name in (("uid", "IgnoredUID"), ("gid", "IgnoredGID")):
        if name in said:
            lines.append(f"ipt -A APPMESH_EGRESS -m owner --{kind}-owner {said[name]} -j RETURN")
    for port in listed("EgressIgnoredPorts"):
        lines.append(f"ipt -A APPMESH_EGRESS -p tcp --dport {port} -j RETURN")
    ignored = listed("EgressIgnoredIPs")
    for address in ignored + [own for own in (METADATA, "169.254.169.254") if own not in ignored]:
        lines.append(f"ipt -A APPMESH_EGRESS -p tcp -d {address} -j RETURN")
    lines.append(f"ipt -A APPMESH_EGRESS -p tcp -j REDIRECT --to-ports {said['ProxyEgressPort']}")
    lines.append("ipt -A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j APPMESH_EGRESS")
    if "ProxyIngressPort" in said:
        lines.append("ipt -N APPMESH_INGRESS")
        for port in listed("AppPorts"):
            lines.append(
                f"ipt -A APPMESH_INGRESS -p tcp --dport {port} -j REDIRECT --to-ports {said['ProxyIngressPort']}"
            )
        lines.append("ipt -A PREROUTING -p tcp -m addrtype ! --src-type LOCAL -j APPMESH_INGRESS")
    return "\n".join(lines)
