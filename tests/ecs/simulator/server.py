"""One HTTP server for all: the AWS APIs by their `X-Amz-Target`, STS by its form, and `/sim/…` for tests."""

import http.server
import json
import threading
import time
import traceback
import urllib.parse

from . import api
from .errors import Refused



class Server(http.server.ThreadingHTTPServer):
    """Serves a `Simulator` (see `__main__`)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, simulator):
        super().__init__(address, Handler)
        self.simulator = simulator

    def handle_error(self, request, client_address):
        """Callers that go away in the middle are nobody's fault."""

    def start(self):
        threading.Thread(target=self.serve_forever, name="server", daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.route(b"")

    def do_POST(self):
        self.route(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_PUT = do_DELETE = do_POST

    def route(self, body):
        simulator = self.server.simulator
        url = urllib.parse.urlsplit(self.path)
        if url.path.startswith("/sim/"):
            return self.control(url, body)
        target = self.headers.get("X-Amz-Target", "")
        service, _, operation = target.rpartition(".")
        if service in simulator.apis:
            return self.call(simulator, simulator.apis[service], operation, body)
        for extension in simulator.extensions:
            answer = extension(self, service, operation, body)
            if answer is not None:
                return self.answer(*answer)
        self.answer(404, json.dumps({"__type": "UnknownOperationException"}).encode())

    def control(self, url, body):
        query = {name: values[-1] for name, values in urllib.parse.parse_qs(url.query).items()}
        try:
            asked = {**query, **(json.loads(body) if body else {})}
            answer = self.server.simulator.control(url.path.removeprefix("/sim/"), self.command, asked)
            status = 200 if answer is not None else 404
        except Refused as refused:
            status, answer = 409, {"error": str(refused)}
        except Exception as error:
            traceback.print_exc()
            status, answer = 400, {"error": f"{type(error).__name__}: {error}"}
        self.answer(status, json.dumps(answer, default=str).encode(), "application/json")

    def call(self, simulator, served, operation, body):
        """A call of an API of the JSON protocol."""
        started = simulator.world.clock.now()
        clock = time.monotonic()
        met = simulator.trouble.meets(operation)
        had = simulator.rates.take(operation)
        try:
            for order in met:
                if order["kind"] == "delay":
                    time.sleep(order["seconds"])
                if order["kind"] == "cut":
                    self.note(simulator, served, operation, "cut", started, clock, 0)
                    self.close_connection = True
                    return None
                if order["kind"] == "error":
                    raise Refused(order.get("code", "ServerException"), order.get("message", "ordered"),
                                  order.get("status", 500))
            if not had or any(order["kind"] == "throttle" for order in met):
                raise Refused("ThrottlingException", "Rate exceeded")
            asked = self.asked(simulator, served, operation, body)
            answer = served.api.call(operation, asked)
            for order in met:
                if order["kind"] == "partial":
                    answer = api.partial(operation, answer, order)
            sent, fault = served.shapes.answer(operation, answer)
            if fault:
                simulator.calls.fault(operation, "answer", fault)
                raise Refused("ServerException", f"the simulator's answer is wrong: {fault}", 500)
            items = next((len(value) for value in answer.values() if isinstance(value, list)), 1)
            self.note(simulator, served, operation, "ok", started, clock, items)
            return self.answer(200, sent)
        except Refused as refused:
            self.note(simulator, served, operation, refused.code, started, clock, 0)
            return self.refuse(refused)
        except ConnectionError:
            # The caller went away in the middle.
            self.close_connection = True
            return None
        except Exception as error:
            traceback.print_exc()
            simulator.calls.fault(operation, "answer", f"{type(error).__name__}: {error}")
            return self.refuse(Refused("ServerException", str(error), 500))

    def asked(self, simulator, served, operation, body):
        if not served.shapes.knows(operation):
            raise Refused("UnknownOperationException", operation)
        try:
            asked = json.loads(body or b"{}")
        except ValueError as error:
            raise Refused("SerializationException", str(error)) from None
        fault = served.shapes.question(operation, asked)
        if fault:
            simulator.calls.fault(operation, "question", fault)
            raise Refused("ClientException", f"not a request of {operation}: {fault}")
        return asked

    def note(self, simulator, served, operation, outcome, started, clock, items):
        service = served.shapes.model.service_name
        simulator.calls.note(time=started, service=service, operation=operation, outcome=outcome,
                             seconds=round(time.monotonic() - clock, 4), items=items)

    def refuse(self, refused):
        body = json.dumps({"__type": refused.code, "message": refused.message}).encode()
        self.answer(refused.status, body)

    def answer(self, status, body, kind="application/x-amz-json-1.1"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", self.server.simulator.world.identity())
        self.end_headers()
        self.wfile.write(body)
