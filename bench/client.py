"""The load: many lean client connections in one loop, failed loudly by the first thing that is not as it must be."""

from __future__ import annotations

import asyncio
import base64
import os
from time import perf_counter
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from bench import wire
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

#: So many opening handshakes at a time: fewer than any server's backlog, or the kernel would drop some for a second.
BATCH = 50
#: Seconds that a phase may take.
PATIENCE = 60.0

_CLOSE = wire.client_frame(b"\x03\xe8", wire.CLOSE)


class Client(asyncio.Protocol):
    """One connection: the opening handshake, then whole frames to `on_text` and `on_pong`.

    A subclass calls `crowd.arrive()` once in each phase, when it has done its part.
    """

    transport: asyncio.Transport

    def __init__(self, crowd: Crowd[Any], host: str, port: int, path: str) -> None:
        self.crowd = crowd
        self.server_pinged = False
        self._key = base64.b64encode(os.urandom(16))
        self._request = self.request(host, port, path, self._key)
        self._upgraded = False
        self._rest = b""

    def request(self, host: str, port: int, path: str, key: bytes) -> bytes:
        """The request that opens the connection."""
        return wire.upgrade_request(host, port, path, key)

    def on_open(self) -> None:
        """The opening handshake is over."""

    def on_text(self, payload: bytes) -> None:
        """A text message has come."""

    def on_ping(self) -> None:
        """A ping of the server has been answered."""

    def on_pong(self, payload: bytes) -> None:
        """A pong has come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.lost(exc)

    def close(self) -> None:
        """Begin the closing handshake."""
        self.transport.write(_CLOSE)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        try:
            if not self._upgraded:
                head, found, data = data.partition(b"\r\n\r\n")
                if not found:
                    self._rest = head
                    return
                wire.check_answer(head, self._key)
                self._upgraded = True
                self.on_open()
            self._rest = data[self.consume(data) :]
        except Exception as error:  # whatever it is, the run is void, and it must not wait for its deadline
            self.crowd.fail(error)

    def consume(self, data: bytes) -> int:
        """Take the whole frames at the head of `data`; return where the rest begins."""
        at = 0
        while (bounds := wire.payload_bounds(data, at)) is not None:
            start, end = bounds
            self.on_frame(data[at], data[start:end])
            at = end
        return at

    def on_frame(self, first: int, payload: bytes) -> None:
        """Take one whole frame; `first` is its first byte."""
        if first == 0x80 | wire.TEXT:
            self.on_text(payload)
        elif first == 0x80 | wire.PING:
            self.transport.write(wire.client_frame(payload, wire.PONG))
            self.server_pinged = True
            self.on_ping()
        elif first == 0x80 | wire.PONG:
            self.on_pong(payload)
        elif first == 0x80 | wire.CLOSE:
            self.crowd.closed(payload)
            self.transport.close()
        else:
            raise BenchError(f"an unexpected frame: first byte {first:#04x}, {payload[:100]!r}")


C = TypeVar("C", bound=Client)


class Crowd(Generic[C]):
    """The clients of one run: opened together, led through phases together, closed together."""

    def __init__(self, factory: Callable[[Crowd[Any], str, int, str], C], host: str, port: int, path: str) -> None:
        self.clients: list[C] = []
        self._factory = factory
        self._address = (host, port, path)
        self._loop = asyncio.get_running_loop()
        self._missing = 0
        self._closing = False
        self._error: Exception | None = None
        self._done = self._loop.create_future()
        self._last_arrival = 0.0

    def arrive(self) -> None:
        """One client has done its part of the present phase."""
        self._missing -= 1
        if self._missing == 0:
            self._last_arrival = perf_counter()
            self._settle()

    def fail(self, error: Exception) -> None:
        """The run is void; the first error is the one that is reported."""
        if self._error is None and not self._closing:
            self._error = error
            self._settle()

    def closed(self, payload: bytes) -> None:
        """The server has sent a Close."""
        code = int.from_bytes(payload[:2], "big")
        self.fail(BenchError(f"the server closed a connection: {code} {payload[2:].decode(errors='replace')}"))

    def lost(self, exc: Exception | None) -> None:
        """A connection is gone."""
        if self._closing:
            self.arrive()
        else:
            self.fail(BenchError(f"a connection was lost: {exc or 'end of stream'}"))

    def _settle(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _begin(self, count: int) -> None:
        self._missing = count
        self._done = self._loop.create_future()
        if self._error is not None:
            self._settle()

    async def _end(self, name: str, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await self._done
        except TimeoutError:
            raise BenchError(f"{name}: {self._missing} clients not done after {patience:.0f} s") from None
        if self._error is not None:
            raise BenchError(f"{name}: {type(self._error).__name__}: {self._error}") from self._error

    async def open(self, count: int, batch: int = BATCH, queries: Sequence[str] = ()) -> float:
        """Open `count` more connections, `batch` at a time; each arrives when it is ready. Returns the seconds it took.

        `queries`: what follows the path, for each of them.
        """
        started = perf_counter()
        for first in range(0, count, batch):
            numbers = range(first, min(first + batch, count))
            self._begin(len(numbers))
            connecting = (self._connect(queries[number] if queries else "") for number in numbers)
            for failure in await asyncio.gather(*connecting, return_exceptions=True):
                if failure is not None:
                    raise BenchError(f"open: {failure}") from failure
            await self._end("open", PATIENCE)
        return self._last_arrival - started

    async def _connect(self, query: str) -> None:
        host, port, path = self._address
        _, client = await self._loop.create_connection(
            lambda: self._factory(self, host, port, path + query), host, port
        )
        self.clients.append(client)

    async def phase(self, name: str, begin: Callable[[C], None], patience: float = PATIENCE) -> float:
        """Let each client begin, wait until all have arrived, and return the seconds until the last did."""
        self._begin(len(self.clients))
        started = perf_counter()
        for client in self.clients:
            begin(client)
        await self._end(name, patience)
        return self._last_arrival - started

    async def abort(self) -> None:
        """Cut all connections without a word, for good."""
        self._closing, self._error = True, None
        alive = [client for client in self.clients if not client.transport.is_closing()]
        self.clients = []
        self._begin(len(alive))
        for client in alive:
            client.transport.abort()
        if alive:
            await self._end("abort", PATIENCE)

    async def close(self) -> None:
        """Close all connections, for good; what the server does not close within seconds is aborted."""
        self._closing, self._error = True, None
        clients, self.clients = self.clients, []
        alive = [client for client in clients if not client.transport.is_closing()]
        self._begin(len(alive))
        for client in alive:
            client.close()
        try:
            if alive:
                await self._end("close", 5.0)
        except BenchError:
            for client in alive:
                client.transport.abort()
        finally:
            await asyncio.sleep(0.05)
