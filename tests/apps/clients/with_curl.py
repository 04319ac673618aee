"""curl against serve.js: what a command line sees of HTTP through the mesh."""

import json, os, re, subprocess, tempfile, time
from checks import LARGE, check, finish, pattern, same, sha256

ONE, TWO, SECURE = "http://web:8080", "http://web:8082", "https://web:8443"
WRITTEN = "\n%{http_code} %{http_version} %{size_upload} %{num_connects}"


def curl(*words, data=None):
    """Its output, its messages, and what WRITTEN says."""
    command = ["curl", "-sS", "--max-time", "30", "-w", WRITTEN, *words]
    done = subprocess.run(command, input=data, capture_output=True, timeout=40)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr.decode()}"
    output, _, written = done.stdout.rpartition(b"\n")
    return output, done.stderr.decode(), written.decode().split()


def echoed(*words, data=None):
    output, _, written = curl(*words, data=data)
    same(written[0], "200")
    return json.loads(output)


@check
def get():
    told = echoed(f"{ONE}/echo?a=1&b=%2f", "-H", "x-twice: 1", "-H", "x-twice: 2", "-H", "X-Case: Kept")
    same((told["method"], told["target"], told["version"], told["bytes"]), ("GET", "/echo?a=1&b=%2f", "1.1", 0))
    same((told["headers"]["x-twice"], told["headers"]["x-case"], told["headers"]["host"]), ("1, 2", "Kept", "web:8080"))


@check
def post_and_put_with_a_length():
    for method in "POST", "PUT", "PATCH", "DELETE":
        body = os.urandom(100_000)
        told = echoed("-X", method, "--data-binary", "@-", f"{ONE}/echo", data=body)
        same((told["method"], told["bytes"], told["sha256"]), (method, len(body), sha256(body)))
        same(told["headers"]["content-length"], str(len(body)))


@check
def chunked_upload_stays_chunked():
    body = os.urandom(3_000_000)
    told = echoed("-T", "-", "-H", "Expect:", f"{ONE}/echo", data=body)
    same((told["bytes"], told["sha256"]), (len(body), sha256(body)))
    same((told["headers"].get("transfer-encoding"), told["headers"].get("content-length")), ("chunked", None))


@check
def expect_continue_comes_from_the_application():
    body = os.urandom(2_000_000)
    output, messages, written = curl("-v", "--expect100-timeout", "30", "-H", "Expect: 100-continue", "--data-binary", "@-", f"{ONE}/echo", data=body)
    told = json.loads(output)
    same((told["bytes"], told["sha256"], told["headers"]["expect"]), (len(body), sha256(body), "100-continue"))
    assert "HTTP/1.1 100 Continue" in messages, messages[-2000:]


@check
def expect_continue_refused_sends_no_body():
    output, messages, written = curl("-v", "--expect100-timeout", "30", "-H", "Expect: 100-continue", "--data-binary", "@-", f"{ONE}/refuse", data=bytes(2_000_000))
    same((output, written[0], written[2]), (b"too much", "413", "0"))
    assert "100 Continue" not in messages, messages[-2000:]


@check
def head_has_the_length_and_no_body():
    output, _, written = curl("-I", f"{ONE}/bytes/12345")
    same(written[0], "200")
    assert re.search(rb"(?im)^content-length: 12345\r$", output), output
    output, _, written = curl("-I", f"{ONE}/bytes/10", "--next", "-sS", "-w", WRITTEN, f"{ONE}/status/200")
    assert output.endswith(b"status 200"), output
    same(written[3], "0")


@check
def http_1_0():
    output, messages, written = curl("-v", "--http1.0", f"{ONE}/bytes/5000?chunked")
    same((written[0], sha256(output)), ("200", sha256(pattern(5000))))
    assert "transfer-encoding" not in messages.lower(), "chunks are not for HTTP/1.0"
    output, _, _ = curl("--http1.0", "--data-binary", "@-", f"{ONE}/echo", data=b"old")
    same(json.loads(output)["sha256"], sha256(b"old"))


@check
def http_2_with_prior_knowledge():
    body = os.urandom(1_000_000)
    output, _, written = curl("--http2-prior-knowledge", "--data-binary", "@-", f"{TWO}/echo", data=body)
    told = json.loads(output)
    same((told["version"], told["bytes"], told["sha256"], written[1]), ("2.0", len(body), sha256(body), "2"))
    same((told["headers"][":authority"], told["headers"][":path"]), ("web:8082", "/echo"))
    output, _, written = curl("--http2-prior-knowledge", "-I", f"{TWO}/bytes/77")
    assert re.search(rb"(?im)^content-length: 77\r$", output), output


@check
def gzip_passes_as_it_is():
    squeezed, _, _ = curl("-H", "accept-encoding: gzip", f"{ONE}/gzip")
    same(squeezed[:2], b"\x1f\x8b")
    plain, messages, _ = curl("-v", "--compressed", f"{ONE}/gzip")
    same(plain, b"squeezed" * 1000)
    assert "content-encoding: gzip" in messages.lower() and "vary: accept-encoding" in messages.lower(), messages


@check
def large_bodies_down_and_up():
    wanted = pattern(LARGE)
    for url in f"{ONE}/bytes/{LARGE}", f"{ONE}/bytes/{LARGE}?chunked":
        output, _, written = curl(url)
        same((written[0], len(output), sha256(output)), ("200", LARGE, sha256(wanted)))
    output, _, _ = curl("--http2-prior-knowledge", f"{TWO}/bytes/{LARGE}")
    same((len(output), sha256(output)), (LARGE, sha256(wanted)))
    for words in (["-H", "Expect:", f"{ONE}/echo"], ["--http2-prior-knowledge", f"{TWO}/echo"]):
        told = echoed("--data-binary", "@-", *words, data=wanted)
        same((told["bytes"], told["sha256"]), (LARGE, sha256(wanted)))


@check
def events_come_one_by_one():
    process = subprocess.Popen(["curl", "-sSN", "--max-time", "20", f"{ONE}/events"], stdout=subprocess.PIPE)
    came = [(time.monotonic(), line) for line in process.stdout if line.startswith(b"data")]
    same([line for _, line in came], [b"data: event %d\n" % number for number in range(1, 6)])
    assert came[-1][0] - came[0][0] > 0.4, f"all at once: {came}"


@check
def a_range():
    output, messages, written = curl("-v", "-r", "1000-1999", f"{ONE}/bytes/100000")
    same((written[0], output), ("206", pattern(100_000)[1000:2000]))
    assert "content-range: bytes 1000-1999/100000" in messages.lower(), messages


@check
def trailers_after_the_body():
    for words in [f"{ONE}/trailers"], ["--http2-prior-knowledge", f"{TWO}/trailers"]:
        with tempfile.NamedTemporaryFile() as file:
            output, _, _ = curl("-D", file.name, "-H", "te: trailers", *words)
            same(output, b"body")
            assert f"x-sum: {sha256(b'body')}" in file.read().decode(), (words, open(file.name).read())


@check
def informational_answers_come_through():
    _, messages, written = curl("-v", f"{ONE}/hints")
    same(written[0], "200")
    assert "HTTP/1.1 103 Early Hints" in messages and "rel=preload" in messages, messages


@check
def statuses_and_empty_answers():
    for status in "201", "204", "304", "404", "418", "500", "599":
        _, _, written = curl(f"{ONE}/status/{status}")
        same(written[0], status)


@check
def one_connection_serves_many_requests():
    output, _, written = curl(f"{ONE}/status/200?[1-50]")
    connects = re.findall(r"\n200 1.1 0 (\d)", f"{output.decode()}\n{' '.join(written)}")
    same(connects, ["1"] + ["0"] * 49)


@check
def many_at_once():
    output, _, written = curl("--parallel", "--parallel-max", "100", f"{ONE}/bytes/20000?[1-200]")
    same((output + b"\n" + " ".join(written).encode()).count(b"\n200 1.1 0 "), 200)


@check
def tls_of_the_application_passes_as_bytes():
    body = os.urandom(3_000_000)
    for words, version in (["--http2"], "2.0"), (["--http1.1"], "1.1"):
        told = echoed("-k", *words, "-H", "Expect:", "--data-binary", "@-", f"{SECURE}/echo", data=body)
        same((told["version"], told["bytes"], told["sha256"]), (version, len(body), sha256(body)))
    names = {re.search(r"(?i)x-name: (\S+)", curl("-vk", SECURE)[1]).group(1) for _ in range(12)}
    same(len(names), 2)


finish()
