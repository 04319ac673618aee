"""counter: an HTTP application that counts numbered POSTs, for tests that nothing is lost or doubled.

    POST /count/N   counts N                     -> 200 "N"
    GET  /seen      {"7": 1, "8": 2}: N -> times -> 200
    GET  /healthz                                -> 200 "ok"

PORT    port (8080). NAME  sent as header x-name (the host's name).
STORE   file that N is appended to before it is answered; read at start, so counts outlive a restart.
        Several replicas may share one file.
LINGER  seconds after SIGTERM in which it serves on, every answer with `Connection: close` (1.0).
        0 = closes the listener and idle connections at once. Requests under way are always finished.
"""

import asyncio, json, os, signal, socket

STORE = os.environ.get("STORE", "/tmp/seen")
LINGER = float(os.environ.get("LINGER", "1"))
NAME = os.environ.get("NAME", socket.gethostname())

store = os.open(STORE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
stopping = False
idle, open_connections = set(), set()


def seen():
    counts = {}
    with open(STORE) as lines:
        for number in lines.read().split():
            counts[number] = counts.get(number, 0) + 1
    return counts


def answer(method, path):
    if method == "POST" and path.startswith("/count/"):
        number = path[len("/count/"):]
        if not number.isdigit():
            return 400, "not a number"
        os.write(store, f"{number}\n".encode())  # one write with O_APPEND: replicas do not tear lines
        return 200, number
    if path == "/seen":
        return 200, json.dumps(seen())
    if path == "/healthz":
        return 200, "ok"
    return 404, "unknown"


async def read_body(reader, fields):
    if "chunked" in fields.get("transfer-encoding", ""):
        while size := int((await reader.readline()).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        while (await reader.readline()).strip():
            pass
    else:
        await reader.readexactly(int(fields.get("content-length", 0)))


async def serve(reader, writer):
    open_connections.add(writer)
    try:
        while True:
            idle.add(writer)
            line = await reader.readline()
            idle.discard(writer)
            if not line:
                return
            method, path, _ = line.decode().split(" ", 2)
            fields = {}
            while field := (await reader.readline()).decode().strip():
                name, _, value = field.partition(":")
                fields[name.lower()] = value.strip().lower()
            await read_body(reader, fields)
            status, text = answer(method, path)
            last = stopping or fields.get("connection") == "close"
            head = f"HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\nx-name: {NAME}\r\n"
            writer.write((head + ("connection: close\r\n\r\n" if last else "\r\n") + text).encode())
            await writer.drain()
            if last:
                return
    except (ConnectionError, asyncio.IncompleteReadError, ValueError):
        pass
    finally:
        idle.discard(writer)
        open_connections.discard(writer)
        writer.close()


async def main():
    global stopping
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    port = int(os.environ.get("PORT", "8080"))
    listener = await asyncio.start_server(serve, "0.0.0.0", port, backlog=1024, reuse_address=True)
    print(json.dumps({"name": NAME, "listening": port}))
    await stop.wait()
    stopping = True
    await asyncio.sleep(LINGER)
    listener.close()
    for writer in list(idle):
        writer.close()
    for _ in range(500):
        if not open_connections:
            break
        await asyncio.sleep(0.01)
    print(json.dumps({"name": NAME, "stopped": True}))


asyncio.run(main())
