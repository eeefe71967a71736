"""What an open connection costs while nobody speaks: memory of the server process, and the CPU time of opening it.

Each connection has its session, has been pinged by its client, and has answered a ping of the server: whatever a
server makes on such an occasion, it has made. Memory is what the process holds above its empty state, taken after
some connections came and went. The kernel's own memory for sockets is not in it.
"""

from __future__ import annotations

import asyncio

from bench.client import PATIENCE, Client, Crowd
from bench.errors import BenchError
from bench.jobs import Column, Job, Run, measured
from bench.wire import PING, client_frame
from bench.work import PING_INTERVAL

#: Opened and closed before the empty server is measured. What they leave free hides so many from the count: few.
_WARM_UP = 50
#: Seconds before memory is read.
_QUIET = 0.5
_HELLO = b"bench"
_PING = client_frame(_HELLO, PING)


class IdleClient(Client):
    """Gets its session, pings, is pinged, and is still."""

    _ponged = False
    _wanted = False

    def on_text(self, payload: bytes) -> None:
        if b'"event":"session"' not in payload:
            raise BenchError(f"not a session: {payload[:100]!r}")
        self.crowd.arrive()

    def ping(self) -> None:
        """Ping; that is all."""
        self.transport.write(_PING)

    def ping_and_wait(self) -> None:
        """Ping, and wait for a ping too."""
        self._wanted = True
        self.transport.write(_PING)

    def on_pong(self, payload: bytes) -> None:
        if payload != _HELLO:
            raise BenchError(f"not the pong of our ping: {payload!r}")
        self._ponged = True
        if not self._wanted:
            self.crowd.arrive()
        else:
            self.on_ping()

    def on_ping(self) -> None:
        if self._wanted and self._ponged and self.server_pinged:
            self._wanted = False
            self.crowd.arrive()


async def measure(run: Run, path: str) -> dict[str, float]:
    """Warm up, measure the empty server, open, wait for the pings, measure again."""
    address = run.address(path)
    warm_up = Crowd(IdleClient, *address)
    try:
        await warm_up.open(_WARM_UP)
        await warm_up.phase("ping", IdleClient.ping)
    finally:
        await warm_up.close()
    await asyncio.sleep(_QUIET)
    empty = await run.meter.memory()
    crowd = Crowd(IdleClient, *address)
    try:
        window = await measured(run, lambda: crowd.open(run.connections))
        await crowd.phase("pings", IdleClient.ping_and_wait, PATIENCE + PING_INTERVAL)
        await asyncio.sleep(_QUIET)
        full = await run.meter.memory()
    finally:
        await crowd.close()
    figures = window.figures(run.connections)
    figures["rss"] = (full.rss - empty.rss) / run.connections / 1024
    figures["uss"] = (full.uss - empty.uss) / run.connections / 1024
    figures["empty"] = empty.rss / 2**20
    return figures


JOB = Job(
    name="idle",
    about="open connections, pinged both ways",
    connections=2000,
    columns=(
        Column("uss", "USS KiB/conn", ".2f", compared=True),
        Column("rss", "RSS KiB/conn", ".2f", compared=True),
        Column("empty", "empty RSS MiB", ".1f"),
        Column("cpu", "open CPU µs", ".0f", compared=True),
        Column("rate", "opened/s", ",.0f"),
    ),
    measure=measure,
)
