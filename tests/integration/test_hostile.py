"""Connections that die in every state, readers that do not read: nothing is left, nothing grows, others are served."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import struct
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.peer import BINARY, CLOSE, PING, TEXT, Peer, masked, request, text_of
from wsserver import Config, Server, SessionView, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CONNECTIONS = 10_000
TOGETHER = 100


async def answer(turn: Turn) -> AsyncIterator[str]:
    for _ in range(20):
        yield "some text "
        await asyncio.sleep(0)
    if turn.content == "wait":
        await asyncio.Event().wait()


MESSAGE = masked(TEXT, b'{"content":"hello"}')
WAITING = masked(TEXT, b'{"content":"wait"}')
GARBAGE = random.Random(7).randbytes(500)

#: What a connection has said when it dies, from nothing at all to the midst of a turn.
LAST_WORDS = [
    b"",
    b"G",
    request()[:40],
    request()[:-2],
    GARBAGE,
    request("/nowhere"),
    request(),
    request() + MESSAGE[:1],
    request() + MESSAGE[:5],
    request() + MESSAGE[:-3],
    request() + MESSAGE,
    request() + WAITING,
    request() + WAITING + MESSAGE * 5,
    request() + WAITING + masked(TEXT, b'{"event":"stop"}'),
    request() + masked(TEXT, b"frag", first=0),
    request() + masked(TEXT, b"frag", first=0) + masked(PING, b"x"),
    request() + masked(BINARY, b"binary"),
    request() + masked(CLOSE, b"\x03\xe8"),
    request() + masked(CLOSE, b"\x00"),
    request() + masked(TEXT, b"\xff\xfe"),
    request() + GARBAGE,
    request() + b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
]


async def die(port: int, dice: random.Random) -> None:
    """Opens a connection, says something, perhaps reads, and ends: by FIN, by RST or by silence until it is cut."""
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setblocking(False)
        await loop.sock_connect(peer, ("127.0.0.1", port))
        try:
            await loop.sock_sendall(peer, dice.choice(LAST_WORDS))
            if dice.random() < 0.5:
                await asyncio.wait_for(loop.sock_recv(peer, 100), 0.05)
        except (ConnectionError, TimeoutError):
            return
        end = dice.choice(["fin", "rst", "silence"])
        if end == "rst":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "silence":
            # What comes is not read: the server must end this by itself.
            loop.call_later(dice.random(), _close, peer.detach())


def _close(descriptor: int) -> None:
    socket.socket(fileno=descriptor).close()


def test_nothing_is_left_of_connections_that_die_in_every_state() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        errors: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda loop, context: errors.append(context))
        config = Config(
            port=0,
            open_timeout=0.5,
            close_timeout=0.5,
            ping_interval=0.5,
            ping_timeout=0.5,
            resume_ttl=0.5,
            max_connections_per_ip=1000,
            handshake_rate=0,
        )
        forgotten = asyncio.Event()

        async def on_close(session: SessionView) -> None:
            if not len(server.sessions):
                forgotten.set()

        async with Server(answer, config, on_close=on_close) as server:
            port = int(server.urls[0].split(":")[2].split("/")[0])
            dice = random.Random(20)
            for _ in range(CONNECTIONS // TOGETHER):
                await asyncio.gather(*(die(port, random.Random(dice.random())) for _ in range(TOGETHER)))
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("still there?")
                assert text_of(await peer.turn()) == "some text " * 20
            await asyncio.wait_for(server.sockets.emptied(), 20)
            if len(server.sessions):
                forgotten.clear()
                await asyncio.wait_for(forgotten.wait(), 20)
            await server.turns.all_ended()
            assert [len(seats) for seats in vars(server.seats).values()] == [0] * 6
            assert len(server.sweeper) == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}
        assert errors == []

    uvloop.run(main())


def test_ten_million_tokens_for_readers_that_read_nothing() -> None:
    shown = 0

    async def flood(turn: Turn) -> AsyncIterator[str]:
        nonlocal shown
        if turn.content == "hello":
            yield "served"
            return
        for _ in range(10_000_000):
            shown += 1
            yield "token "

    async def main() -> None:
        async with Server(flood, Config(port=0, ping_interval=0)) as server:
            async with Peer.connect(server.urls[0]) as good:
                floods = [Peer.connect(server.urls[0]) for _ in range(20)]
                peers = [await flood.__aenter__() for flood in floods]
                for peer in peers:
                    transport: Any = peer.writer.transport
                    transport.pause_reading()
                    await peer.ask("flood")
                await settled(lambda: shown)
                tracemalloc.start()
                before, tokens = tracemalloc.get_traced_memory()[0], shown
                for _ in range(50):
                    await good.ask("hello")
                    assert text_of(await good.turn()) == "served"
                grown = tracemalloc.get_traced_memory()[0] - before
                tracemalloc.stop()
                assert shown == tokens, "a callback goes on though its reader takes nothing"
                assert shown < 20 * 20_000
                assert grown < 200_000
                for flood_ in floods:
                    await flood_.__aexit__(None, None, None)

    uvloop.run(main())


async def settled(value: Callable[[], int]) -> None:
    """Returns once `value` no longer changes over many turns of the loop."""
    last, quiet = value(), 0
    while quiet < 200:
        await asyncio.sleep(0.001)
        quiet = quiet + 1 if value() == last else 0
        last = value()


def test_a_reader_that_reads_takes_a_long_turn_in_flat_memory() -> None:
    async def long(turn: Turn) -> AsyncIterator[str]:
        for _ in range(300_000):
            yield "token "

    async def main() -> None:
        async with Server(long, Config(port=0, max_log_size=2**18, max_history=2**16)) as server:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("go")
                await peer.reader.readexactly(10_000_000)
                gc.collect()
                tracemalloc.start()
                await peer.reader.readexactly(15_000_000)
                grown, _ = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                assert grown < 2**20

    uvloop.run(main())


def test_stop_comes_through_a_flood() -> None:
    """A client that sleeps under a flood, sends `stop` and reads on gets at most 512 KiB before `complete`."""

    async def flood(turn: Turn) -> AsyncIterator[str]:
        while True:
            yield "some words of a flood "

    async def main() -> int:
        async with Server(flood, Config(port=0)) as server:
            port = int(server.urls[0].split(":")[2].split("/")[0])
            return await asyncio.to_thread(sleeping_client, port)

    assert uvloop.run(main()) <= 512 * 1024


def sleeping_client(port: int) -> int:
    """Bytes between `stop` and the end of `complete`, with a plain blocking socket and the kernel's own buffers."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(20)
        peer.sendall(request() + masked(TEXT, b'{"content":"go"}'))
        peer.recv(1)
        time.sleep(2)  # the flood must have had its time: no event tells that buffers are full
        peer.sendall(masked(TEXT, b'{"event":"stop"}'))
        received, tail = 0, b""
        while b'"status":"stopped"' not in tail:
            data = peer.recv(2**16)
            assert data, "the server closed the connection"
            received += len(data)
            tail = tail[-100:] + data
        return received


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_a_frame_of_2_to_the_63_is_refused_before_a_byte_of_it() -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0)) as server:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.write(b"\x81\xff" + (2**63 - 1).to_bytes(8, "big") + b"mask")
                assert (await peer.closed())[0] == 1009

    uvloop.run(main())
