"""One worker process, as its supervisor sees it: what it is given, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from wsserver.net.admin.requests import Request
from wsserver.net.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no workers")

#: The other end, without the package: what it does stands for all that a worker does.
PROGRAM = """
import os, signal, socket, sys
index, channel, listeners = os.environ["WSSERVER_WORKER"].split(":")
channel = socket.socket(fileno=int(channel))
listener = socket.socket(fileno=int(listeners.split(",")[0]))
def say(word):
    channel.sendall(word)
"""

#: It ends at once: on its way out Python hears no second signal any more, and would die of it.
READY_THEN = (
    PROGRAM
    + """
signal.signal(signal.SIGTERM, lambda *_: (say(b"L"), os._exit(0)))
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
say(b"R")
"""
)

ANSWER = """
while True:
    word, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not word:
        sys.exit(9)
    connection = socket.socket(fileno=descriptors[0])
    line = connection.recv(9999).split(b"\\r\\n")[0]
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(line), line))
    connection.close()
"""


@asynccontextmanager
async def worker(program: str, index: int = 0) -> AsyncIterator[tuple[Worker, tuple[str, int]]]:
    """A worker, and the address of its socket. It is reaped as a supervisor would, and nothing of it is left open."""
    loop = asyncio.get_running_loop()
    open_before = len(os.listdir("/dev/fd"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        it = Worker(index, [listener], [sys.executable, "-S", "-c", program], loop)
        loop.add_signal_handler(signal.SIGCHLD, it.reap)
        try:
            async with asyncio.timeout(20):
                yield it, listener.getsockname()
        finally:
            if not it.gone.is_set():
                it.kill()
                await it.gone.wait()
            loop.remove_signal_handler(signal.SIGCHLD)
    assert len(os.listdir("/dev/fd")) == open_before


def test_it_serves_what_it_was_given() -> None:
    async def main() -> None:
        async with worker(PROGRAM + "say(b'R'); listener.accept()[0].sendall(index.encode())", 5) as (it, address):
            assert (it.state, it.served, it.status) == ("starting", 0, None)
            await it.ready.wait()
            assert it.state == "ready"
            assert it.brief().items() >= {"worker": 5, "pid": it.pid, "state": "ready"}.items()
            assert os.getsid(it.pid) == it.pid, "what is said at a terminal is not said to it"
            # Whoever connects here reaches it, though the socket is ours.
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b"5"
            writer.close()
            await writer.wait_closed()
            await it.gone.wait()
            assert (it.state, it.status, it.end) == ("gone", 0, "ended with status 0")
            assert it.served > 0
            assert repr(it) == f"<Worker 5 pid {it.pid} gone>"

    asyncio.run(main())


def test_it_drains() -> None:
    async def main() -> None:
        async with worker(READY_THEN + ANSWER) as (it, _):
            await it.ready.wait()
            it.drain()
            assert it.state == "leaving"
            it.drain()
            await it.gone.wait()
            assert it.status == 0

    asyncio.run(main())


def test_one_that_is_starting_ends_at_once() -> None:
    async def main() -> None:
        async with worker(PROGRAM + ANSWER) as (it, _):
            it.drain()
            await it.gone.wait()
            assert it.end == "was killed by SIGTERM"

    asyncio.run(main())


def test_it_is_cut() -> None:
    async def main() -> None:
        async with worker(READY_THEN + ANSWER) as (it, _):
            await it.ready.wait()
            it.cut()
            await it.gone.wait()
            assert it.end == "ended with status 7"
        async with worker(PROGRAM + ANSWER) as (it, _):
            it.cut()
            await it.gone.wait()
            assert it.end == "was killed by SIGKILL"

    asyncio.run(main())


def test_it_says_that_it_leaves() -> None:
    async def main() -> None:
        async with worker(READY_THEN + ANSWER) as (it, _):
            await it.ready.wait()
            os.kill(it.pid, signal.SIGTERM)
            await it.leaving.wait()
            await it.gone.wait()

    asyncio.run(main())


def test_it_answers() -> None:
    async def main() -> None:
        request = Request("GET", ("sessions",), {"limit": "3"}, {}, b"")
        async with worker(READY_THEN + ANSWER) as (it, _):
            with pytest.raises(ConnectionRefusedError):
                await it.ask(request)
            await it.ready.wait()
            for _ in range(3):
                assert (await it.ask(request)).body == b"GET /sessions?limit=3 HTTP/1.1"
            it.kill()
            await it.gone.wait()
            with pytest.raises(ConnectionRefusedError):
                await it.ask(request)

    asyncio.run(main())


def test_one_that_dies_over_it_does_not_answer() -> None:
    async def main() -> None:
        async with worker(READY_THEN + "socket.recv_fds(channel, 1, 1); os._exit(3)") as (it, _):
            await it.ready.wait()
            with pytest.raises(OSError):
                await it.ask(Request("GET", ("sessions",), {}, {}, b""))
            await it.gone.wait()

    asyncio.run(main())


def test_one_that_cannot_be_started() -> None:
    async def main() -> None:
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(FileNotFoundError):
            Worker(0, [], ["/nowhere/python"], asyncio.get_running_loop())
        assert len(os.listdir("/dev/fd")) == before

    asyncio.run(main())


def test_it_takes_clients_of_others() -> None:
    takes = """
word, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
socket.socket(fileno=descriptors[0]).sendall(word)
"""

    async def main() -> None:
        async with worker(READY_THEN + takes) as (it, _):
            await it.ready.wait()
            ours, theirs = socket.socketpair()
            with theirs:
                it.hand_over(3, theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            assert await reader.read() == bytes((128 + 3,))
            writer.close()
            await writer.wait_closed()
            await it.gone.wait()

    asyncio.run(main())
