"""A network that fails: what goes through it is cut, or goes nowhere any more, after so many bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Fate(NamedTuple):
    """What becomes of a connection after `up` bytes of the client, or `down` bytes of the server.

    It is reset; or, if `silent`, nobody hears anything any more, not even that.
    """

    up: float
    down: float
    silent: bool = False
    piece: int = 2**12  # at most so many bytes at a time
    delay: float = 0.0  # seconds before each of them


@asynccontextmanager
async def failing(url: str | Callable[[], str], fate: Callable[[], Fate]) -> AsyncIterator[str]:
    """Gives the URL of a way to `url`, or to what it gives, on which each connection has its fate."""

    def choose() -> str:
        return url if isinstance(url, str) else url()

    path = urlsplit(choose()).path
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(OSError, asyncio.CancelledError):
            target = urlsplit(choose())
            far_reader, far_writer = await asyncio.open_connection(target.hostname, target.port)
            await _Line(fate()).join((reader, writer), (far_reader, far_writer))
        writer.transport.abort()
        running.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}{path}"
    finally:
        listener.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Line:
    """One connection through the network."""

    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        self._dead = False

    async def join(self, client: Side, server: Side) -> None:
        """Ends with the connection; where it is dead, with both."""
        ways = (
            asyncio.create_task(self._copy(client[0], server[1], self._fate.up)),
            asyncio.create_task(self._copy(server[0], client[1], self._fate.down)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if self._dead:
                await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            server[1].transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: float) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(self._fate.piece):
                if self._dead:
                    continue
                if self._fate.delay:
                    await asyncio.sleep(self._fate.delay)
                writer.write(data[: int(min(left, len(data)))])
                await writer.drain()
                left -= len(data)
                if left <= 0 and not self._fate.silent:
                    return
                self._dead |= left <= 0
