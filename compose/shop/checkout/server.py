"""checkout: turns a cart into an order. Asks cart over HTTP and pricing over gRPC."""

import http.client, itertools, json, os, queue, signal, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import grpc
import pricing_pb2
import pricing_pb2_grpc

CART = urlsplit(os.environ.get("CART", "http://cart:8080"))
PRICING = os.environ.get("PRICING", "pricing:50051")
TIMEOUT = 5  # seconds

pricing = pricing_pb2_grpc.PricingStub(grpc.insecure_channel(PRICING))
kept = queue.LifoQueue(16)  # open connections to cart
orders = itertools.count(1)
stopping = threading.Event()
under_way = set()


class Refused(Exception):
    """An answer other than success: (status, text)."""


def log(**fields):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(json.dumps({"time": now, "service": "checkout", **fields}), flush=True)


def cart(method, user, trace):
    try:
        connection = kept.get_nowait()
    except queue.Empty:
        connection = http.client.HTTPConnection(CART.hostname, CART.port or 80, timeout=TIMEOUT)
    try:
        connection.request(method, f"/cart/{user}", headers=trace)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise Refused(503, f"cart: {error}")
    kept.put_nowait(connection) if not kept.full() else connection.close()
    if response.status != 200:
        raise Refused(502, f"cart: {response.status}")
    return json.loads(text)


def quote(items, trace):
    try:
        metadata = list(trace.items())
        return pricing.Quote(pricing_pb2.Cart(items=items), timeout=TIMEOUT, metadata=metadata)
    except grpc.RpcError as error:
        raise Refused(404 if error.code() == grpc.StatusCode.NOT_FOUND else 503, f"pricing: {error.details()}")


def answer(method, path, trace):
    area, _, what = path.strip("/").partition("/")
    if (method, area) == ("POST", "checkout"):
        items = {int(item): count for item, count in cart("GET", what, trace)["items"].items()}
        price = quote(items, trace)
        cart("DELETE", what, trace)
        return {"order": next(orders), "user": what, "cents": price.cents, "discount_cents": price.discount_cents}
    if (method, area) == ("GET", "quote") and what.isdigit():
        return {"cents": quote({int(what): 1}, trace).cents}
    if (method, area) == ("GET", "healthz"):
        return {"ok": True}
    raise Refused(404, "no such page")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 75  # seconds a kept connection may be idle
    disable_nagle_algorithm = True

    def respond(self):
        begun = time.monotonic()
        under_way.add(self)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        trace = {name: value for name in ("traceparent", "tracestate") if (value := self.headers.get(name))}
        try:
            status, body = 200, answer(self.command, self.path, trace)
        except Refused as refused:
            status, body = refused.args[0], {"error": refused.args[1]}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if stopping.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)
        under_way.discard(self)
        ms = round((time.monotonic() - begun) * 1000)
        log(method=self.command, path=self.path, status=status, ms=ms, **trace)

    do_GET = do_POST = respond

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def stop(server):
    log(message="stopping")
    stopping.set()
    time.sleep(1)  # for callers to learn of it
    server.shutdown()
    for _ in range(50):  # and five seconds for what is under way
        if under_way:
            time.sleep(0.1)


server = Server(("", 8080), Handler)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: threading.Thread(target=stop, args=[server]).start())
log(message="listening", port=8080)
server.serve_forever(poll_interval=0.1)
