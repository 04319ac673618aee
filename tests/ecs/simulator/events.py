"""What ECS tells EventBridge, and the rule that puts it into the queue: envelopes of tasks' and services' changes.

Orders, each {"kind", "count"?, "match"?}: `drop`, `duplicate`, `delay` (by `seconds`), `reorder` (the next `count`
come in the opposite order). `match` is a text in the envelope, such as an ARN or `"lastStatus": "RUNNING"`.
"""

import datetime
import json
import threading
import time

KINDS = ("drop", "duplicate", "delay", "reorder")
# Fields of the API's record that events do not carry.
NOT_TOLD = ("tags", "fargateEphemeralStorage")
# Of a container, likewise.
NOT_TOLD_CONTAINER = ("managedAgents",)


class Events:
    """A listener of the world that sends to a queue."""

    def __init__(self, world, queue):
        self.world = world
        self.queue = queue
        self.orders = []
        self._lock = threading.Lock()
        self._held = []
        world.listeners.append(self.hear)

    def hear(self, change):
        if change.kind == "action":
            self.send(self.action(change))
        elif change.kind == "task" and change.after is not None:
            if change.before is None or change.before["version"] != change.after["version"]:
                self.send(self.task(change))

    def envelope(self, change, kind, detail):
        at = datetime.datetime.fromtimestamp(change.at, datetime.timezone.utc)
        identity = self.world.identity()
        return {
            "version": "0",
            "id": f"{identity[:8]}-{identity[8:12]}-{identity[12:16]}-{identity[16:20]}-{identity[20:]}",
            "detail-type": kind,
            "source": "aws.ecs",
            "account": self.world.account,
            "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self.world.region,
            "resources": [change.key],
            "detail": detail,
        }

    def task(self, change):
        record = {name: value for name, value in change.after.items() if name not in NOT_TOLD}
        at = datetime.datetime.fromtimestamp(round(change.at, 3), datetime.timezone.utc)
        record["updatedAt"] = at
        # The event's spelling of an attachment's type is not the API's.
        record["attachments"] = [{**one, "type": "eni"} for one in record["attachments"]]
        record["containers"] = [
            {name: value for name, value in one.items() if name not in NOT_TOLD_CONTAINER}
            for one in record["containers"]
        ]
        return self.envelope(change, "ECS Task State Change", record)

    def action(self, change):
        detail = {name: value for name, value in change.after.items() if name != "detail-type"}
        if change.after["detail-type"] == "ECS Service Action":
            service = self.world.find("service", change.key) or {}
            detail["clusterArn"] = service.get("clusterArn", "")
            detail["createdAt"] = datetime.datetime.fromtimestamp(round(change.at, 3), datetime.timezone.utc)
        else:
            detail["updatedAt"] = datetime.datetime.fromtimestamp(round(change.at, 3), datetime.timezone.utc)
        return self.envelope(change, change.after["detail-type"], detail)

    def order(self, order):
        if order.get("kind") not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}")
        with self._lock:
            self.orders.append(dict(order))

    def clear(self):
        with self._lock:
            self.orders.clear()
            held, self._held = self._held, []
        for body in held:
            self.queue.send(body)

    def send(self, event):
        """Puts an envelope into the queue, as ordered."""
        body = json.dumps(event, default=iso)
        met = self._meets(body)
        if "drop" in met:
            return
        if "reorder" in met:
            with self._lock:
                self._held.append(body)
                if met["reorder"].get("count", 0) != 0:
                    return
                held, self._held = self._held, []
            for one in reversed(held):
                self.queue.send(one)
            return
        until = time.monotonic() + met["delay"]["seconds"] if "delay" in met else 0.0
        for _ in range(2 if "duplicate" in met else 1):
            self.queue.send(body, until)

    def _meets(self, body):
        met = {}
        with self._lock:
            for order in self.orders:
                if order.get("count") != 0 and order.get("match", "") in body:
                    if order.get("count"):
                        order["count"] -= 1
                    met[order["kind"]] = dict(order)
            self.orders = [order for order in self.orders if order.get("count") != 0]
        return met


def iso(value):
    """Times are texts in events."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"{value!r} has no place in an event")
