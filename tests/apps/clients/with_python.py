"""Python's HTTP clients against serve.js: http.client, requests, httpx over HTTP/2, aiohttp."""

import asyncio, http.client, json, os, threading, time
import aiohttp, httpx, requests
from checks import LARGE, check, finish, pattern, same, sha256, until

ONE, TWO = "http://web:8080", "http://web:8082"


def pieces(count=40, size=50_000):
    return [os.urandom(size) for _ in range(count)]


@check
def http_client_keeps_its_connection():
    client = http.client.HTTPConnection("web", 8080, timeout=20)
    names, sockets = set(), set()
    for number in range(100):
        client.request("POST", "/echo", body=b"x" * number)
        answer = client.getresponse()
        names.add(answer.headers["x-name"])
        same(json.loads(answer.read())["bytes"], number)
        sockets.add(id(client.sock))
    same((len(names), len(sockets)), (2, 1))


@check
def http_client_sends_chunks_and_reads_head():
    client = http.client.HTTPConnection("web", 8080, timeout=20)
    body = pieces()
    client.request("PUT", "/echo", body=iter(body), encode_chunked=True, headers={"transfer-encoding": "chunked"})
    same(json.loads(client.getresponse().read())["sha256"], sha256(b"".join(body)))
    client.request("HEAD", "/bytes/4711")
    answer = client.getresponse()
    same((answer.status, answer.getheader("content-length"), answer.read()), (200, "4711", b""))
    client.request("GET", "/status/200")
    same(client.getresponse().read(), b"status 200")


@check
def requests_session():
    with requests.Session() as session:
        same(session.get(f"{ONE}/gzip", timeout=20).text, "squeezed" * 1000)
        same(session.get(f"{ONE}/status/404", timeout=20).status_code, 404)
        body = pieces()
        told = session.post(f"{ONE}/echo", data=iter(body), timeout=20).json()
        same((told["sha256"], told["headers"]["transfer-encoding"]), (sha256(b"".join(body)), "chunked"))
        with session.get(f"{ONE}/bytes/{LARGE}?chunked", stream=True, timeout=20) as answer:
            same(sha256(b"".join(answer.iter_content(65536))), answer.headers["x-sha256"])
        files = {"file": ("a.bin", b"\x00\r\n--x" * 1000, "application/octet-stream")}
        told = session.post(f"{ONE}/echo", files=files, data={"name": "ä"}, timeout=20).json()
        assert told["headers"]["content-type"].startswith("multipart/form-data; boundary="), told
        names = {session.get(f"{ONE}/", timeout=20).headers["x-name"] for _ in range(40)}
        same(len(names), 2)


@check
def requests_from_many_threads():
    answers = []
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=50))

    def some():
        for _ in range(20):
            answer = session.get(f"{ONE}/bytes/10000", timeout=20)
            answers.append(sha256(answer.content) == answer.headers["x-sha256"])

    threads = [threading.Thread(target=some) for _ in range(25)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    same((len(answers), all(answers)), (500, True))


@check
def httpx_over_http_2():
    async def calls():
        async with httpx.AsyncClient(http1=False, http2=True, timeout=20, limits=httpx.Limits(max_connections=4)) as client:
            answers = await asyncio.gather(*(client.post(f"{TWO}/echo", content=b"%d" % n) for n in range(200)))
            same({answer.http_version for answer in answers}, {"HTTP/2"})
            same([answer.json()["sha256"] for answer in answers], [sha256(b"%d" % n) for n in range(200)])
            same({answer.json()["version"] for answer in answers}, {"2.0"})
            same(len({answer.headers["x-name"] for answer in answers}), 2)
            body = pieces()

            async def stream():
                for piece in body:
                    yield piece

            told = (await client.put(f"{TWO}/echo", content=stream())).json()
            same((told["bytes"], told["sha256"]), (sum(map(len, body)), sha256(b"".join(body))))
            async with client.stream("GET", f"{TWO}/bytes/5000000") as answer:
                same(sha256(b"".join([part async for part in answer.aiter_bytes()])), sha256(pattern(5_000_000)))
            same((await client.get(f"{TWO}/gzip")).text, "squeezed" * 1000)

    asyncio.run(calls())


@check
def httpx_over_http_1():
    with httpx.Client(timeout=20) as client:
        same(client.get(f"{ONE}/gzip").text, "squeezed" * 1000)
        with client.stream("GET", f"{ONE}/events") as answer:
            came = [(time.monotonic(), line) for line in answer.iter_lines() if line.startswith("data")]
        same([line.strip() for _, line in came], [f"data: event {n}" for n in range(1, 6)])
        assert came[-1][0] - came[0][0] > 0.4, "all at once"


@check
def aiohttp_two_hundred_at_once():
    async def calls():
        connector = aiohttp.TCPConnector(limit=200)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(30)) as session:
            async def one(number):
                body = os.urandom(1000 + number)
                async with session.post(f"{ONE}/echo", data=body) as answer:
                    told = await answer.json()
                    return told["sha256"] == sha256(body), answer.headers["x-name"]

            answers = await asyncio.gather(*(one(number) for number in range(200)))
            same((all(good for good, _ in answers), len({name for _, name in answers})), (True, 2))

            async def stream():
                for _ in range(50):
                    yield b"y" * 30_000

            async with session.post(f"{ONE}/echo", data=stream()) as answer:
                told = await answer.json()
                same((told["sha256"], told["headers"].get("transfer-encoding")), (sha256(b"y" * 1_500_000), "chunked"))

    asyncio.run(calls())


def gone():
    """How many clients of /endless went, over both replicas."""
    answers = [requests.get(f"{ONE}/gone", timeout=20) for _ in range(20)]
    counts = {answer.headers["x-name"]: int(answer.text) for answer in answers}
    same(len(counts), 2)
    return sum(counts.values())


@check
def a_client_that_goes_is_seen_by_the_application():
    before = gone()
    with requests.get(f"{ONE}/endless", stream=True, timeout=20) as answer:
        same(answer.raw.read(3), b"...")
    until("the client of HTTP/1 is seen to go", lambda: gone() == before + 1)
    with httpx.Client(http1=False, http2=True, timeout=20) as client:
        with client.stream("GET", f"{TWO}/endless") as answer:
            assert next(answer.iter_bytes()).startswith(b".")
    until("the client of HTTP/2 is seen to go", lambda: gone() == before + 2)


finish()
