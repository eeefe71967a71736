"""Who comes to the socket of a worker that is not there."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from tests.clock import run_virtually
from tests.net.puppets import Puppet
from wsserver.net.workers.relief import Relief

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import pytest

    from wsserver.net.workers.worker import Worker


class Helper(Puppet):
    """Answers each client with the number of the socket, and is gone; a `full` one takes nobody."""

    full = False

    def hand_over(self, number: int, client: socket.socket) -> None:
        if self.full:
            raise BlockingIOError("it takes no more")
        client.sendall(str(number).encode())


class Scene:
    def __init__(self) -> None:
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.helpers: list[Worker] = [Helper(1, 101), Helper(2, 102)]
        self.relief = Relief(self.listeners, lambda: list(self.helpers))

    async def come(self, number: int) -> bytes:
        """What a client is answered."""
        reader, writer = await asyncio.open_connection(*self.listeners[number].getsockname())
        try:
            return await reader.read()
        finally:
            writer.transport.abort()

    def waiting(self) -> list[int]:
        """How many are in the queue of each socket."""
        counts = []
        for listener in self.listeners:
            listener.setblocking(False)
            counts.append(0)
            while True:
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    break
                counts[-1] += 1
        return counts


def play(script: Callable[[Scene], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        scene = Scene()
        await script(scene)
        scene.relief.end()
        for listener in scene.listeners:
            listener.close()

    run_virtually(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_after_a_while_the_others_serve_whoever_waits_and_comes() -> None:
    async def script(scene: Scene) -> None:
        scene.relief.begin()
        scene.relief.begin()
        assert await asyncio.gather(*(scene.come(number % 2) for number in range(10))) == [b"0", b"1"] * 5
        assert 1 <= now() < 1.5
        assert await scene.come(1) == b"1"

    play(script)


def test_a_successor_that_is_there_soon_finds_them_waiting() -> None:
    async def script(scene: Scene) -> None:
        scene.relief.begin()
        client = socket.create_connection(scene.listeners[0].getsockname())
        await asyncio.sleep(0.9)
        scene.relief.end()
        await asyncio.sleep(2)
        assert scene.waiting() == [1, 0]
        client.close()

    play(script)


def test_it_ends_when_the_successor_is_there() -> None:
    async def script(scene: Scene) -> None:
        scene.relief.begin()
        assert await scene.come(0) == b"0"
        scene.relief.end()
        scene.relief.end()
        client = socket.create_connection(scene.listeners[0].getsockname())
        await asyncio.sleep(2)
        assert scene.waiting() == [1, 0]
        client.close()

    play(script)


def test_where_nobody_serves_they_wait_in_the_queue() -> None:
    async def script(scene: Scene) -> None:
        helpers = scene.helpers
        scene.helpers = []
        scene.relief.begin()
        coming = asyncio.create_task(scene.come(0))
        await asyncio.sleep(100)
        assert not coming.done()
        scene.helpers = helpers
        assert await coming == b"0"

    play(script)


def test_one_that_takes_no_more_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async def script(scene: Scene) -> None:
        helper = scene.helpers[0]
        assert isinstance(helper, Helper)
        helper.full = True
        scene.relief.begin()
        assert await asyncio.gather(*(scene.come(0) for _ in range(20))) == [b"0"] * 20
        scene.helpers.pop()
        assert await scene.come(0) == b"", "there is nobody"

    play(script)
    assert "worker 1 (process 101) takes no client of another one: it takes no more" in caplog.text
