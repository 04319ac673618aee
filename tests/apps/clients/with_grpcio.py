"""grpcio against grpc_serve.py: the four kinds of calls, and what applications lean on besides."""

import os, queue, threading, time, uuid
import grpc
from checks import check, finish, same, sha256, until

TARGET = os.environ.get("TARGET", "grpc:50051")
LIMIT = 30  # seconds for a call that should end well
LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

channel = grpc.insecure_channel(TARGET, LARGE)


def unary(name="Unary", on=channel):
    return on.unary_unary(f"/clients.Echo/{name}")


def trailing(call):
    return dict(call.trailing_metadata())


def failure(action):
    """The error that this call ends with."""
    try:
        action()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it went well")


@check
def unary_calls_reach_both_replicas():
    names = set()
    for number in range(100):
        answer, call = unary().with_call(b"%d" % number, timeout=LIMIT)
        same(answer, b"%d" % number)
        names.add(trailing(call)["x-name"])
    same(len(names), 2)


@check
def metadata_before_and_after():
    answer, call = unary().with_call(b"", timeout=LIMIT, metadata=(("x-ask", "1"), ("x-bytes-bin", b"\x00\x80")))
    same((answer, call.code()), (b"", grpc.StatusCode.OK))
    same(dict(call.initial_metadata())["x-begun"], "1")
    same(trailing(call)["x-mark-bin"], b"\x00\x01\xff")


@check
def server_streaming():
    messages = channel.unary_stream("/clients.Echo/Stream")(b"500 2000", timeout=LIMIT)
    same([sha256(message) for message in messages], [sha256(bytes([n % 251]) * 2000) for n in range(500)])
    large = list(channel.unary_stream("/clients.Echo/Stream")(b"10 2000000", timeout=LIMIT))
    same([len(message) for message in large], [2_000_000] * 10)


@check
def client_streaming():
    messages = [os.urandom(20_000) for _ in range(200)]
    answer = channel.stream_unary("/clients.Echo/Collect")(iter(messages), timeout=LIMIT)
    same(answer.decode(), f"200 {sha256(b''.join(messages))}")
    same(channel.stream_unary("/clients.Echo/Collect")(iter([]), timeout=LIMIT).decode(), f"0 {sha256(b'')}")


@check
def bidirectional_message_by_message():
    asked = queue.SimpleQueue()
    answers = channel.stream_stream("/clients.Echo/Talk")(iter(asked.get, None), timeout=LIMIT)
    for number in range(200):  # the next is asked only when this one has come
        asked.put(b"%d" % number)
        same(next(answers), b"%d" % number)
    asked.put(None)
    same((list(answers), answers.code()), ([], grpc.StatusCode.OK))


@check
def two_hundred_calls_at_once():
    calls = [unary().future(b"%d" % number, timeout=LIMIT) for number in range(200)]
    same([call.result() for call in calls], [b"%d" % number for number in range(200)])


@check
def a_deadline_that_passes():
    begun = time.monotonic()
    error = failure(lambda: unary()(b"", timeout=0.5, metadata=(("x-sleep", "5"),)))
    same(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    assert time.monotonic() - begun < 3
    same(unary()(b"next", timeout=LIMIT), b"next")


@check
def an_error_with_details():
    for code, details in ("NOT_FOUND", "no such cart: ä%\n"), ("UNAVAILABLE", "later"), ("INTERNAL", ""), ("ABORTED", "x" * 2000):
        error = failure(lambda: unary()(b"", timeout=LIMIT, metadata=(("x-code", code), ("x-details", "seen"))))
        same((error.code().name, error.details()), (code, "seen"))
        same(trailing(error)["grpc-status-details-bin"], b"\x08\x05\x12\x04gone")
        assert trailing(error)["x-name"]
    error = failure(lambda: unary("None")(b"", timeout=LIMIT))
    same(error.code(), grpc.StatusCode.UNIMPLEMENTED)


@check
def a_cancelled_call_is_seen_by_the_server():
    mark = uuid.uuid4().hex.encode()
    call = channel.unary_stream("/clients.Echo/Wait")(mark, timeout=LIMIT)
    same(next(call), b"waiting")
    call.cancel()
    same(failure(lambda: next(call)).code(), grpc.StatusCode.CANCELLED)
    until("the server sees it", lambda: mark in unary("Gone")(b"", timeout=LIMIT))


@check
def messages_of_five_megabytes():
    for _ in range(3):
        message = os.urandom(5_000_000)
        same(sha256(unary()(message, timeout=LIMIT)), sha256(message))
    messages = [os.urandom(5_000_000) for _ in range(4)]
    answers = channel.stream_stream("/clients.Echo/Talk")(iter(messages), timeout=LIMIT)
    same([sha256(answer) for answer in answers], [sha256(message) for message in messages])


@check
def keepalive_pings_while_nothing_is_said():
    options = [("grpc.keepalive_time_ms", 500), ("grpc.keepalive_timeout_ms", 1000), ("grpc.http2.max_pings_without_data", 0),
               ("grpc.keepalive_permit_without_calls", 1)]
    with grpc.insecure_channel(TARGET, options) as quiet:
        asked = queue.SimpleQueue()
        answers = quiet.stream_stream("/clients.Echo/Talk")(iter(asked.get, None), timeout=LIMIT)
        for pause in 0, 3:
            time.sleep(pause)
            asked.put(b"x")
            same(next(answers), b"x")
        asked.put(None)
        same(list(answers), [])


@check
def gzip_between_client_and_server():
    message = b"squeeze me" * 10_000
    same(unary()(message, timeout=LIMIT, compression=grpc.Compression.Gzip), message)


finish()
