"""Task definitions put together at random from botocore's model of RegisterTaskDefinition: every field that it has, on some of them.

    python generate.py SEED COUNT

Prints one JSON object a line. What a field means is not known here, but for what any definition must have to be one: names,
ports and sizes that are such.
"""

import json
import random
import sys

import botocore.session

CONTAINERS = ["app", "log", "metrics", "init", "agent"]
# By the last part of the path, where any text would make each definition a refused one.
TEXTS = {
    "family": ["shop"],
    "networkMode": ["awsvpc", "awsvpc", "awsvpc", "bridge", "host", "none"],
    "requiresCompatibilities": ["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"],
    "cpu": ["256", "512", "1024", "1 vCPU", ".5 vCPU"],
    "memory": ["512", "1024", "2048", "1 GB", "2GB"],
    "operatingSystemFamily": ["LINUX", "LINUX", "LINUX", "WINDOWS_SERVER_2022_CORE"],
    "containerPortRange": ["9000-9003", "9100-9100"],
    "containerName": CONTAINERS,
    "sourceContainer": CONTAINERS,
    "sourceVolume": ["data", "cache"],
    "user": ["root", "1000", "0:0", "app:app"],
    "value": ["1", "x y", "ä"],
}
LABELS = {
    "outrigger.capture": ["names", "platform", "transparent", "explicit"],
    "outrigger.port": ["8080", "8080/http, 9090/tcp"],
    "outrigger.upstreams": ["cart:8080=9001", "db:5432"],
    "outrigger.mode": ["permissive", "strict"],
    "team": ["shop"],
}


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def make(self, shape, name, depth=0):
        kind = shape.type_name
        if kind == "structure":
            needed = set(shape.required_members)
            share = 0.35 if depth < 3 else 0.6
            return {
                key: self.make(member, key, depth + 1)
                for key, member in shape.members.items()
                if key in needed or self.random.random() < share
            }
        if kind == "list":
            return [self.make(shape.member, name, depth + 1) for _ in range(self.random.choice([0, 1, 1, 2]))]
        if kind == "map":
            if name == "dockerLabels":
                some = self.random.sample(sorted(LABELS), self.random.choice([0, 0, 1, 2]))
                return {key: self.random.choice(LABELS[key]) for key in some}
            return {self.random.choice(["one", "two"]): self.make(shape.value, name, depth + 1)}
        if kind == "string":
            return self.text(shape, name)
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind in ("integer", "long"):
            return self.number(name)
        if kind in ("float", "double"):
            return 0.5
        raise ValueError(f"{name}: {kind}")

    def text(self, shape, name):
        if name in TEXTS:
            return self.random.choice(TEXTS[name])
        if getattr(shape, "enum", None):
            return self.random.choice(shape.enum)
        return self.random.choice(["a", "b-1", "/some/path", "arn:aws:iam::123456789012:role/x", "c d"])

    def number(self, name):
        if name.endswith("Port"):
            return self.random.choice([80, 8080, 9090, 0 if name == "hostPort" else 443])
        return self.random.choice([0, 2, 16, 64, 128])

    def definition(self, shape):
        made = self.make(shape, "")
        names = self.random.sample(CONTAINERS, self.random.choice([1, 1, 2, 3]))
        container = shape.members["containerDefinitions"].member
        made["containerDefinitions"] = [{**self.make(container, "", 2), "name": name, "image": name} for name in names]
        if self.random.random() < 0.8:
            # The platform's redirect leads to another proxy: refused each time.
            made.pop("proxyConfiguration", None)
        return made


def main():
    seed, count = (int(word) for word in sys.argv[1:])
    model = botocore.session.Session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    for at in range(count):
        print(json.dumps(Maker(seed * 1_000_000 + at).definition(shape)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
