"""Calls over one channel, of all four kinds, until /tmp/enough is there. Prints what failed, how many went well, and who answered."""

import collections, pathlib, sys, threading, time
import grpc

channel = grpc.insecure_channel("grpc:50051")
names, failures, lock = collections.Counter(), [], threading.Lock()
KINDS = [
    (channel.unary_unary("/clients.Echo/Unary"), b"x"),
    (channel.unary_stream("/clients.Echo/Stream"), b"3 10"),
    (channel.stream_unary("/clients.Echo/Collect"), [b"x", b"y"]),
    (channel.stream_stream("/clients.Echo/Talk"), [b"x", b"y"]),
]


def once(method, message):
    message = iter(message) if isinstance(message, list) else message
    if hasattr(method, "with_call"):
        call = method.with_call(message, timeout=10)[1]
    else:
        call = method(message, timeout=10)
        collections.deque(call, 0)
    return dict(call.trailing_metadata())["x-name"]


def steadily(method, message):
    while not pathlib.Path("/tmp/enough").exists():
        try:
            name = once(method, message)
            with lock:
                names[name] += 1
        except grpc.RpcError as error:
            with lock:
                failures.append(f"{error.code()}: {error.details()}")
        pathlib.Path("/tmp/under-way").touch()
        time.sleep(0.01)


threads = [threading.Thread(target=steadily, args=kind) for kind in KINDS]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("failed", len(failures), failures[:5])
print("answered", sum(names.values()), "by", len(names))
sys.exit(1 if failures else 0)
