"""poster: sends numbered POSTs at a fixed rate over keep-alive connections and NEVER sends one again.

TARGET       http://counter:8080 (path /count/N is added)
RATE         POSTs per second (250), over all connections
CONNECTIONS  keep-alive connections (8); one that fails is replaced, its request is not repeated
COUNT        how many POSTs; SECONDS  or how long (10). SIGTERM ends it early.
FIRST        first number (1). TIMEOUT  seconds until a POST counts as failed (30).

At the end one line of JSON: {"sent", "answered", "failed", "seconds", "slowest_ms", "late_ms", "last",
"names": {x-name: times}, "failures": [{"number", "why", "at_ms"}]}; exit code 0 only if none failed.
`late_ms` is how far behind its timetable it fell at most: the rate was kept if that is small.
"""

import asyncio, json, os, signal, sys, time
from urllib.parse import urlsplit

TARGET = urlsplit(os.environ.get("TARGET", "http://counter:8080"))
RATE = float(os.environ.get("RATE", "250"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "8"))
SECONDS = float(os.environ.get("SECONDS", "10"))
COUNT = int(os.environ.get("COUNT", "0")) or int(RATE * SECONDS)
FIRST = int(os.environ.get("FIRST", "1"))
TIMEOUT = float(os.environ.get("TIMEOUT", "30"))

started = time.monotonic()
tally = {"sent": 0, "answered": 0, "failed": 0}
slowest = late = 0.0
names, failures = {}, []


async def post(reader, writer, number):
    body = f'{{"number":{number}}}'
    head = f"POST /count/{number} HTTP/1.1\r\nhost: {TARGET.netloc}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    await writer.drain()
    status = (await reader.readline()).decode()
    if not status:
        raise ConnectionError("closed before an answer")
    fields = {}
    while field := (await reader.readline()).decode().strip():
        name, _, value = field.partition(":")
        fields[name.lower()] = value.strip()
    if fields.get("transfer-encoding", "").lower() == "chunked":
        text = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            text += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        text = await reader.readexactly(int(fields.get("content-length", 0)))
    code = int(status.split(" ")[1])
    if code != 200:
        raise ValueError(f"{code} {text.decode(errors='replace').strip()[:200]}")
    name = fields.get("x-name", "")
    names[name] = names.get(name, 0) + 1
    return fields.get("connection", "").lower() != "close"


async def connection(numbers):
    """Takes numbers from the timetable; keeps its connection while it is good."""
    global slowest
    reader = writer = None
    while (number := await numbers.get()) is not None:
        begun = time.monotonic()
        keep = False
        try:
            # A server may have closed a kept connection between two POSTs: seen before sending, so no loss.
            if writer is not None and reader.at_eof():
                writer.close()
                writer = None
            if writer is None:
                opening = asyncio.open_connection(TARGET.hostname, TARGET.port or 80)
                reader, writer = await asyncio.wait_for(opening, TIMEOUT)
            tally["sent"] += 1
            keep = await asyncio.wait_for(post(reader, writer, number), TIMEOUT)
            tally["answered"] += 1
        except (OSError, ValueError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            tally["failed"] += 1
            why = f"{type(error).__name__}: {error}"
            failures.append({"number": number, "why": why, "at_ms": round((time.monotonic() - started) * 1000)})
        slowest = max(slowest, time.monotonic() - begun)
        if not keep and writer is not None:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def main():
    global late
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    numbers = asyncio.Queue()
    workers = [asyncio.create_task(connection(numbers)) for _ in range(CONNECTIONS)]
    last = FIRST - 1
    for step in range(COUNT):
        due = started + step / RATE
        late = max(late, time.monotonic() - due)
        wait = due - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        if stop.is_set():
            break
        last = FIRST + step
        numbers.put_nowait(last)
    for _ in workers:
        numbers.put_nowait(None)
    await asyncio.gather(*workers)
    summary = dict(tally, seconds=round(time.monotonic() - started, 3), slowest_ms=round(slowest * 1000),
                   late_ms=round(late * 1000), last=last, names=names, failures=failures[:100])
    print(json.dumps(summary))
    return 0 if tally["failed"] == 0 else 1


sys.exit(asyncio.run(main()))
