"""Connections opened as a browser opens them, and closed in order as soon as their session has come.

So many are at it all the time; each client that has done its part is followed by the next. The CPU time is that of
the whole of it: accept, opening handshake, session, closing handshake, end.
"""

from __future__ import annotations

import asyncio
import base64
import os
from time import perf_counter
from typing import TYPE_CHECKING, cast

from bench import wire
from bench.client import PATIENCE
from bench.errors import BenchError
from bench.jobs import PEAK, Column, Job, Run, latencies, measured

if TYPE_CHECKING:
    from collections.abc import Callable

_CLOSE = wire.client_frame(b"\x03\xe8", wire.CLOSE)
_CLOSED = wire.server_frame(b"\x03\xe8", wire.CLOSE)
#: Before the measured ones.
_WARM_UP = 100


class Visit(asyncio.Protocol):
    """One connection; `future` gets the seconds from the request to the session, once the server has closed."""

    _transport: asyncio.Transport

    def __init__(self, host: str, port: int, path: str) -> None:
        self.future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._key = base64.b64encode(os.urandom(16))
        self._request = wire.upgrade_request(host, port, path, self._key, wire.browser_headers(host, port))
        self._data = b""
        self._seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._began = perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._seconds:
            return
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        try:
            wire.check_answer(head, self._key)
        except wire.WireError as error:
            self._fail(str(error))
            return
        if (bounds := wire.payload_bounds(rest, 0)) is not None:
            if b'"event":"session"' not in rest[: bounds[1]]:
                self._fail(f"not a session: {rest[:100]!r}")
                return
            self._seconds = perf_counter() - self._began
            self._data = rest[bounds[1] :]
            self._transport.write(_CLOSE)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.future.done():
            return
        if self._seconds and self._data.startswith(_CLOSED[:1]) and self._data[2:4] == _CLOSED[2:]:
            self.future.set_result(self._seconds)
        else:
            self._fail(f"lost before its end: {exc or 'end of stream'}, {self._data[:100]!r}")

    def _fail(self, why: str) -> None:
        if not self.future.done():
            self.future.set_exception(BenchError(f"handshake: {why}"))
        self._transport.abort()


async def _visits(
    address: tuple[str, int, str], at_a_time: int, go_on: Callable[[int], bool]
) -> tuple[float, list[float]]:
    """Open and close while `go_on(how many have begun)`; the seconds of all, and of each."""
    loop = asyncio.get_running_loop()
    host, port, path = address
    times: list[float] = []
    begun = 0

    async def one_by_one() -> None:
        nonlocal begun
        while go_on(begun):
            begun += 1
            _, visit = await loop.create_connection(lambda: Visit(host, port, path), host, port)
            times.append(await visit.future)

    started = perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_a_time):
                group.create_task(one_by_one())
    except* (BenchError, OSError) as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        failure = str(first)
    else:
        return perf_counter() - started, times
    raise BenchError(failure)


async def measure(run: Run, path: str) -> dict[str, float]:
    """A few first, then the measured ones: `turns` for each of those at it, or as many as begin in time."""
    address = run.address(path)
    times: list[float] = []

    async def phase() -> float:
        nonlocal times
        if run.turns:
            total = run.turns * run.connections
            seconds, times = await _visits(address, run.connections, lambda begun: begun < total)
        else:
            deadline = perf_counter() + run.seconds
            seconds, times = await _visits(address, run.connections, lambda begun: perf_counter() < deadline)
        return seconds

    try:
        async with asyncio.timeout(PATIENCE + run.seconds):
            await _visits(address, run.connections, lambda begun: begun < _WARM_UP)
            window = await measured(run, phase)
    except TimeoutError:
        raise BenchError("handshake: some connections were never closed") from None
    return window.figures(len(times)) | latencies(times)


JOB = Job(
    name="handshake",
    work="stream",
    about="opened with a browser's headers, and closed",
    connections=16,
    columns=(
        Column("cpu", "CPU µs/handshake", ".1f", compared=True),
        Column("instructions", "instructions/handshake", ",.0f", compared=True),
        Column("rate", "handshakes/s", ",.0f", compared=True),
        Column("p50", "p50 ms", ".2f"),
        Column("p99", "p99 ms", ".2f"),
        Column("server", "server core %", ".0f"),
        Column("load", "load core %", ".0f"),
        PEAK,
    ),
    measure=measure,
)
