"""A gRPC application without generated code: messages are bytes. Port 50051; NAME, or the host's name, is in the
trailers of each answer. Methods of `clients.Echo`:

Unary   the same bytes. Metadata: x-sleep (seconds), x-code with x-details (an error, with details in the trailers)
Stream  "COUNT SIZE": that many messages      Collect  any messages: "COUNT SHA256" of them
Talk    each message comes back at once       Wait     until the caller goes; the message names the call
Gone    names of the calls of Wait whose callers went, on this replica
Break   UNAVAILABLE the first time for each message, then the same bytes
"""

import hashlib, os, signal, socket, threading, time
from concurrent import futures
import grpc

NAME = os.environ.get("NAME", socket.gethostname())
gone, refused, lock = set(), set(), threading.Lock()


def told(context):
    context.set_trailing_metadata((("x-name", NAME), ("x-mark-bin", b"\x00\x01\xff")))
    return dict(context.invocation_metadata())


def unary(message, context):
    metadata = told(context)
    time.sleep(float(metadata.get("x-sleep", "0")))
    context.send_initial_metadata((("x-begun", "1"),))
    if code := metadata.get("x-code"):
        context.set_trailing_metadata((("x-name", NAME), ("grpc-status-details-bin", b"\x08\x05\x12\x04gone")))
        context.abort(grpc.StatusCode[code], metadata["x-details"])
    return message


def stream(message, context):
    told(context)
    count, size = map(int, message.split())
    for number in range(count):
        yield bytes([number % 251]) * size


def collect(messages, context):
    told(context)
    count, total = 0, hashlib.sha256()
    for message in messages:
        count += 1
        total.update(message)
    return f"{count} {total.hexdigest()}".encode()


def talk(messages, context):
    told(context)
    yield from messages


def wait(message, context):
    told(context)
    ended = threading.Event()
    context.add_callback(ended.set)
    yield b"waiting"
    ended.wait(60)
    with lock:
        gone.add(message)


def tell_gone(_message, context):
    told(context)
    with lock:
        return b",".join(sorted(gone))


def break_once(message, context):
    told(context)
    with lock:
        good = message in refused
        refused.add(message)
    if not good:
        context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
    return message


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Stream": grpc.unary_stream_rpc_method_handler(stream),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Wait": grpc.unary_stream_rpc_method_handler(wait),
    "Gone": grpc.unary_unary_rpc_method_handler(tell_gone),
    "Break": grpc.unary_unary_rpc_method_handler(break_once),
}

largest = 64 << 20
options = [("grpc.max_receive_message_length", largest), ("grpc.max_send_message_length", largest)]
server = grpc.server(futures.ThreadPoolExecutor(64), options=options)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("clients.Echo", METHODS),))
server.add_insecure_port("[::]:50051")
server.start()
print(f'{{"name": "{NAME}", "listening": 50051}}', flush=True)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
stop.wait()
# grpcio cancels calls that arrive while it stops, so it is to stop only when nobody sends any more.
time.sleep(1)
server.stop(5).wait()
