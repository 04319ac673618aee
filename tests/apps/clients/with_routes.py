"""What clients see of the routes and policies that the test has put in force: `with_routes.py PART`."""

import sys, time, uuid
import grpc, requests
from checks import check, finish, same

ONE = "http://counter:8080"
LIMIT = 20  # seconds for a call that should end well
part = sys.argv[1]
session = requests.Session()
channel = grpc.insecure_channel("counter:50051")


def ask(path="/", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return session.get(ONE + path, headers=headers, timeout=LIMIT)


def names(times, path="/", **headers):
    """Who answered, and how often."""
    found = [ask(path, **headers).headers["x-name"] for _ in range(times)]
    return {name: found.count(name) for name in found}


def call(method, message=b"", metadata=(), timeout=LIMIT):
    """Status and name in the trailers of one gRPC call."""
    try:
        _, done = channel.unary_unary(f"/clients.Echo/{method}").with_call(message, timeout=timeout, metadata=metadata)
    except grpc.RpcError as error:
        done = error
    return done.code().name, dict(done.trailing_metadata() or ()).get("x-name")


if part == "all-to-v1":

    @check
    def everything_goes_to_v1():
        same((names(30), names(30, x_canary="1")), ({"v1": 30}, {"v1": 30}))
        same({call("Unary") for _ in range(10)}, {("OK", "v1")})


if part == "canary":

    @check
    def the_header_leads_to_v2_and_nothing_else_does():
        same((names(30, x_canary="1"), names(30)), ({"v2": 30}, {"v1": 30}))

    @check
    def a_method_of_grpc_leads_to_v2():
        same({call("Gone") for _ in range(10)}, {("OK", "v2")})
        same({call("Unary") for _ in range(10)}, {("OK", "v1")})
        answers = channel.stream_stream("/clients.Echo/Talk")(iter([b"x"] * 10), timeout=LIMIT)
        same(([*answers], dict(answers.trailing_metadata())["x-name"]), ([b"x"] * 10, "v2"))


if part == "weights":

    @check
    def both_get_their_share():
        found = names(160)
        assert 16 <= found["v2"] <= 80, f"a quarter of 160 should be v2: {found}"

    @check
    def a_user_stays_where_the_user_is():
        for user in range(10):
            found = names(4, "/sticky", x_user=str(user))
            same(len(found), 1)


if part == "all-to-v2":

    @check
    def everything_goes_to_v2():
        same(names(30), {"v2": 30})


if part == "policies":

    @check
    def headers_and_path_are_edited():
        answer = ask("/shop/echo?n=1", x_debug="1", x_seen="here")
        told = answer.json()
        same((told["target"], told["headers"]["x-team"], told["headers"]["x-seen"]), ("/echo?n=1", "shop", "here, mesh"))
        assert "x-debug" not in told["headers"], told
        same((answer.headers["cache-control"], answer.headers.get("x-name")), ("no-store", None))

    @check
    def answers_without_the_application():
        answer = session.get(f"{ONE}/old/page?n=1", timeout=LIMIT, allow_redirects=False)
        same((answer.status_code, answer.headers["location"]), (301, f"{ONE}/new/page?n=1"))
        same(session.get(f"{ONE}/old/page", timeout=LIMIT).text, "GET /new/page by v1")
        same((ask("/robots.txt").text, session.delete(f"{ONE}/x", timeout=LIMIT).status_code), ("Disallow: /", 405))

    @check
    def a_fault_on_purpose_hits_only_whom_it_should():
        broken = ask(x_test="broken")
        same((broken.status_code, broken.headers["outrigger-error"]), (503, "fault"))
        begun = time.monotonic()
        same(ask(x_test="late").status_code, 200)
        assert time.monotonic() - begun > 0.5
        same({ask().status_code for _ in range(30)}, {200})
        same(call("Gone", metadata=(("x-test", "broken"),))[0], "UNAVAILABLE")

    @check
    def a_timeout_is_504_and_deadline_exceeded():
        begun = time.monotonic()
        same((ask("/slow/5000").status_code, ask("/slow/10").status_code), (504, 200))
        same(call("Unary", metadata=(("x-sleep", "5"),)), ("DEADLINE_EXCEEDED", None))
        assert time.monotonic() - begun < 5, "neither took the application's time"

    @check
    def what_fails_now_and_then_is_tried_again():
        same([ask(f"/flaky?id={uuid.uuid4()}").status_code for _ in range(5)], [200] * 5)
        same(session.post(f"{ONE}/flaky?id={uuid.uuid4()}", data="kept", timeout=LIMIT).status_code, 200)
        same(session.put(f"{ONE}/flaky?id={uuid.uuid4()}", timeout=LIMIT).status_code, 503)
        same(call("Break", uuid.uuid4().bytes)[0], "OK")

    @check
    def copies_are_answered_by_nobody():
        same(names(50, "/work"), {"v1": 50})


if part == "nobody-tries-again":

    @check
    def what_fails_is_passed_on():
        same(ask(f"/flaky?id={uuid.uuid4()}").status_code, 503)
        same(call("Break", uuid.uuid4().bytes)[0], "UNAVAILABLE")


if part == "ejection":

    @check
    def the_bad_replica_is_out_after_three_failures():
        found = [session.get("http://worker:8080/work", timeout=LIMIT).status_code for _ in range(80)]
        same(found.count(500), 3)
        same(found[-40:], [200] * 40)

    @check
    def it_is_counted_once():
        """Of loopback, so no traffic of the mesh."""
        metrics = requests.get("http://127.0.0.1:15020/metrics", timeout=LIMIT).text.splitlines()
        total = [line for line in metrics if line.startswith("outrigger_ejections_total{") and "worker" in line]
        same(sum(int(line.split()[-1]) for line in total), 1)
        out = [line for line in metrics if line.startswith("outrigger_endpoint_ejected{") and line.endswith(" 1")]
        same(len(out), 1)


finish()
