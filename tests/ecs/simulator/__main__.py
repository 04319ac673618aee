"""`python -m simulator --port 0`: serves until its input ends or it is told to stop; prints one line of JSON first."""

import argparse
import collections
import importlib.util
import json
import signal
import sys
import threading

from . import api, calls, cloud_map, control, credentials, events, rates, scheduler, server, shapes, sqs, state, sts
from . import tasks, trouble

ECS = "AmazonEC2ContainerServiceV20141113"
# An API of the JSON protocol: its model and its operations.
Served = collections.namedtuple("Served", "shapes api")


class Simulator:
    """All parts of one simulator."""

    def __init__(self, options):
        self.options = options
        self.world = state.World(region=options.region, account=options.account)
        self.calls = calls.Calls()
        self.trouble = trouble.Trouble()
        self.rates = rates.Rates(self.world.clock)
        self.shapes = shapes.Shapes("ecs")
        self.api = api.Api(self.world)
        self.issuer = credentials.Issuer(self.world)
        self.stepper = tasks.Stepper(self.world)
        self.world.drivers = [scheduler.Scheduler(self.world), self.stepper]
        self.queue = sqs.Queue()
        self.events = events.Events(self.world, self.queue)
        self.cloud_map = cloud_map.Api(self.world)
        # APIs of the JSON protocol, by what X-Amz-Target begins with.
        self.apis = {
            ECS: Served(self.shapes, self.api),
            sqs.TARGET: Served(shapes.Shapes("sqs"), sqs.Api(self.queue)),
            cloud_map.TARGET: Served(shapes.Shapes("servicediscovery"), self.cloud_map),
        }
        # Others: called with (handler, service, operation, body), give (status, body, kind) or None.
        self.extensions = [sts.Sts(self.world, self.issuer, self.calls)]
        self.control = control.Control(self)
        self.control.do_cluster({"name": "default"})
        # What the first line says.
        self.addresses = {}

    def start(self):
        here = server.Server((self.options.host, self.options.port), self)
        url = f"http://{self.options.host}:{here.server_address[1]}"
        self.addresses = {
            "url": url,
            "queue": f"{url}/{self.world.account}/{sqs.NAME}",
            "port": here.server_address[1],
            "account": self.world.account,
            "region": self.world.region,
            **self.addresses,
        }
        self.world.run()
        here.start()


def main():
    parse = argparse.ArgumentParser(prog="simulator")
    parse.add_argument("--host", default="127.0.0.1")
    parse.add_argument("--port", type=int, default=0)
    parse.add_argument("--region", default="eu-central-1")
    parse.add_argument("--account", default="123456789012")
    if importlib.util.find_spec("simulator.agent"):
        from . import agent

        agent.arguments(parse)
    simulator = Simulator(parse.parse_args())
    if importlib.util.find_spec("simulator.agent"):
        agent.install(simulator)
    simulator.start()
    print(json.dumps(simulator.addresses), flush=True)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    # Whoever started us holds our input open: its end, however it comes, is ours.
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    ended.wait()
    simulator.world.end()


if __name__ == "__main__":
    main()
