"""Python's websockets and aiohttp against serve.js (`ws` of Node)."""

import asyncio, os, time
import aiohttp, websockets
from checks import check, finish, same

URL = "ws://web:8080/ws"
FRAME = 1_000_000


def with_socket(talk, **options):
    async def run():
        async with websockets.connect(URL, max_size=None, open_timeout=20, **options) as socket:
            await asyncio.wait_for(talk(socket), 25)

    asyncio.run(run())


@check
def text_and_binary():
    async def talk(socket):
        for message in "hello", "ä" * 70_000, "", b"\x00\xff", b"", os.urandom(70_000):
            await socket.send(message)
            same(await socket.recv(), message)

    with_socket(talk)
    with_socket(talk, compression=None)


@check
def a_subprotocol_and_compression_are_negotiated():
    async def talk(socket):
        same((socket.subprotocol, [extension.name for extension in socket.extensions]), ("chat", ["permessage-deflate"]))

    with_socket(talk, subprotocols=["other", "chat"])


@check
def ping_and_pong_both_ways():
    async def talk(socket):
        for _ in range(10):
            await asyncio.wait_for(await socket.ping(), 5)
        await socket.send("ping")
        same(await socket.recv(), "ponged mark")

    with_socket(talk)


@check
def frames_of_a_megabyte():
    async def talk(socket):
        for _ in range(10):
            message = os.urandom(FRAME)
            await socket.send(message)
            same(await socket.recv(), message)

        async def fragments():
            for number in range(20):
                yield bytes([number]) * 50_000

        await socket.send(fragments())
        same(await socket.recv(), b"".join(bytes([number]) * 50_000 for number in range(20)))

    with_socket(talk, compression=None)


@check
def close_codes_from_either_side():
    async def theirs(socket):
        await socket.send("close 4001 enough for today")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            same((closed.rcvd.code, closed.rcvd.reason), (4001, "enough for today"))
        else:
            raise AssertionError("still open")

    async def ours(socket):
        await socket.close(4002, "bye")
        same((socket.close_code, socket.close_reason), (4002, "bye"))

    with_socket(theirs)
    with_socket(ours)


@check
def a_hundred_at_once_reach_both_replicas():
    async def one(number):
        async with websockets.connect(URL, open_timeout=20) as socket:
            await socket.send("name")
            name = await socket.recv()
            together.append(number)
            while len(together) < 100:  # all are open at the same time
                await asyncio.sleep(0.02)
            for turn in range(20):
                await socket.send(f"{number} {turn}")
                same(await socket.recv(), f"{number} {turn}")
            return name

    async def run():
        names = await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(100))), 40)
        same(len(set(names)), 2)

    together = []
    asyncio.run(run())


@check
def another_path_is_refused_by_the_application():
    async def run():
        try:
            async with websockets.connect("ws://web:8080/elsewhere", open_timeout=20):
                raise AssertionError("opened")
        except websockets.InvalidStatusCode as refused:
            same(refused.status_code, 400)

    asyncio.run(run())


@check
def aiohttp_speaks_it_too():
    async def run():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(URL, compress=15, max_msg_size=0) as socket:
                await socket.send_str("hello")
                same((await socket.receive()).data, "hello")
                message = os.urandom(FRAME)
                await socket.send_bytes(message)
                same((await socket.receive()).data, message)
                await socket.send_str("close 1001 going")
                closed = await socket.receive()
                same((closed.type, closed.data, closed.extra), (aiohttp.WSMsgType.CLOSE, 1001, "going"))

    asyncio.run(asyncio.wait_for(run(), 30))


@check
def a_quiet_socket_outlives_the_request_timeout():
    """mesh.yaml gives requests of `web` four seconds; a connection that was upgraded has no such limit."""

    async def talk(socket):
        await asyncio.sleep(4.5)
        await socket.send("still")
        same(await socket.recv(), "still")

    with_socket(talk, ping_interval=None)


finish()
