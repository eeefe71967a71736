"""The worker's end of the channel to its supervisor, on both loops."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from wsserver.net.workers import handover
from wsserver.net.workers.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


class Upper(asyncio.Protocol):
    """Answers a line in capitals."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())
        self.transport.close()


def no_clients(number: int, sock: socket.socket) -> None:
    pytest.fail("there is none")


def heard(supervisor: socket.socket) -> bytes:
    supervisor.setblocking(False)
    try:
        return supervisor.recv(64)
    except BlockingIOError:
        return b""


async def passed_on(supervisor: socket.socket, said: bytes) -> bytes:
    """What comes back on a connection that is handed over."""
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(supervisor, [handover.REQUEST], [theirs.fileno()])
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    writer.write(said)
    answer = await reader.read()
    writer.close()
    return answer


def test_it_says_how_it_is_and_serves_what_it_is_handed(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        supervisor, worker = socket.socketpair()
        channel = Channel(worker, loop, orphaned=lambda: pytest.fail("it is there"))
        assert heard(supervisor) == b""
        channel.serve(Upper, no_clients)
        assert heard(supervisor) == handover.READY
        answers = await asyncio.gather(*(passed_on(supervisor, f"word {number}".encode()) for number in range(5)))
        assert answers == [f"WORD {number}".encode() for number in range(5)]
        channel.leaving()
        assert heard(supervisor) == handover.LEAVING
        # Also then: what it finishes can be looked at.
        assert await passed_on(supervisor, b"last") == b"LAST"
        channel.close()
        assert heard(supervisor) == b""
        assert supervisor.recv(1) == b""
        supervisor.close()

    run(main())


def test_a_supervisor_that_is_gone_is_noticed_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        orphaned: asyncio.Future[None] = loop.create_future()
        supervisor, worker = socket.socketpair()
        channel = Channel(worker, loop, orphaned=lambda: orphaned.set_result(None))
        channel.serve(Upper, no_clients)
        supervisor.close()
        async with asyncio.timeout(10):
            await orphaned
        channel.leaving()
        channel.close()
        assert worker.fileno() == -1

    run(main())


def test_one_that_is_gone_before(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        orphaned: asyncio.Future[None] = loop.create_future()
        supervisor, worker = socket.socketpair()
        supervisor.close()
        channel = Channel(worker, loop, orphaned=lambda: orphaned.set_result(None))
        channel.serve(Upper, no_clients)
        async with asyncio.timeout(10):
            await orphaned
        channel.close()

    run(main())
    assert not caplog.records


def test_what_is_handed_over_is_for_no_child(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        supervisor, worker = socket.socketpair()
        seen: asyncio.Future[bool] = loop.create_future()

        class Looks(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                seen.set_result(os.get_inheritable(transport.get_extra_info("socket").fileno()))
                transport.abort()

        channel = Channel(worker, loop, orphaned=lambda: None)
        channel.serve(Looks, no_clients)
        assert await passed_on(supervisor, b"") == b""
        assert (await seen) is False
        channel.close()
        supervisor.close()

    run(main())


def test_clients_of_others_come_with_the_number_of_their_socket(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        supervisor, worker = socket.socketpair()
        adopted: list[tuple[int, socket.socket]] = []
        seen = asyncio.Event()

        def adopt(number: int, sock: socket.socket) -> None:
            adopted.append((number, sock))
            if len(adopted) == 3:
                seen.set()

        channel = Channel(worker, loop, orphaned=lambda: None)
        channel.serve(Upper, adopt)
        for number in (0, 7, 100):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                socket.send_fds(supervisor, [bytes((handover.CLIENT + number,))], [theirs.fileno()])
                ours.sendall(str(number).encode())
        async with asyncio.timeout(10):
            await seen.wait()
        for number, sock in adopted:
            assert sock.recv(10) == str(number).encode()
            assert not sock.get_inheritable()
            sock.close()
        assert [number for number, _ in adopted] == [0, 7, 100]
        channel.close()
        supervisor.close()

    run(main())
