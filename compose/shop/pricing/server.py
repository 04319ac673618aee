"""pricing: what a cart costs, over gRPC."""

import json, signal, threading, time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pricing_pb2
import pricing_pb2_grpc

CENTS = {1: 4900, 2: 900, 3: 12900, 4: 38900, 5: 700}
BULK = 3  # of one item, and a tenth is taken off


def log(**fields):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(json.dumps({"time": now, "service": "pricing", **fields}), flush=True)


def line(item, count):
    full = CENTS[item] * count
    return full, full // 10 if count >= BULK else 0


class Pricing(pricing_pb2_grpc.PricingServicer):
    def prices(self, cart, context):
        trace = {k: v for k, v in context.invocation_metadata() if k == "traceparent"}
        unknown = [item for item in cart.items if item not in CENTS]
        if unknown:
            log(method="Quote", status="NOT_FOUND", **trace)
            context.abort(grpc.StatusCode.NOT_FOUND, f"no price for item {unknown[0]}")
        log(method="Quote", status="OK", lines=len(cart.items), **trace)
        return [line(item, count) for item, count in sorted(cart.items.items())]

    def Quote(self, request, context):
        lines = self.prices(request, context)
        off = sum(discount for _, discount in lines)
        return pricing_pb2.Price(cents=sum(full for full, _ in lines) - off, discount_cents=off)

    def Lines(self, request, context):
        cents = off = 0
        for full, discount in self.prices(request, context):
            cents, off = cents + full - discount, off + discount
            yield pricing_pb2.Price(cents=cents, discount_cents=off)


server = grpc.server(ThreadPoolExecutor(max_workers=8))
pricing_pb2_grpc.add_PricingServicer_to_server(Pricing(), server)
server.add_insecure_port("0.0.0.0:50051")
server.start()
log(message="listening", port=50051)

stop = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())
stop.wait()
log(message="stopping")
server.stop(grace=5).wait()  # tells callers to go away, answers what is under way
