"""What an open connection costs while nobody speaks: memory of the server process, and CPU time.

Each connection has its session, has been pinged by its client, and has answered a ping of the server: whatever a
server makes on such an occasion, it has made. Memory is what the process holds above its empty state, taken after
some connections came and went; and again after each connection has had one answer. The CPU time of a second at rest
is that of pinging every connection once in `PING_INTERVAL`. The kernel's own memory for sockets is not in it.
"""

from __future__ import annotations

import asyncio

from bench.client import PATIENCE, Crowd
from bench.errors import BenchError
from bench.jobs import PEAK, Column, Job, Run, measured
from bench.jobs.stream import StreamClient, patience
from bench.wire import PING, client_frame
from bench.work import PING_INTERVAL, TOKENS

#: Opened and closed before the empty server is measured. What they leave free hides so many from the count: few.
_WARM_UP = 50
#: Seconds before memory is read.
_QUIET = 0.5
_HELLO = b"bench"
_PING = client_frame(_HELLO, PING)


class IdleClient(StreamClient):
    """Gets its session, pings, is pinged, and is still."""

    _ponged = False
    _wanted = False

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

    def answer(self) -> None:
        """Take one turn."""
        self.stream(1, 0.0)


async def measure(run: Run, path: str) -> dict[str, float]:
    """Warm up, measure the empty server, open, wait for the pings, measure again; then with a turn each."""
    address, count = run.address(path), run.connections
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
        window = await measured(run, lambda: crowd.open(count))
        await crowd.phase("pings", IdleClient.ping_and_wait, PATIENCE + PING_INTERVAL)
        await asyncio.sleep(_QUIET)
        full = await run.meter.memory()
        rest = await measured(run, _interval)
        await crowd.phase("turn", IdleClient.answer, patience(run, count * TOKENS))
        await asyncio.sleep(_QUIET)
        after = await run.meter.memory()
    finally:
        await crowd.close()
    figures = window.figures(count)
    for key, of in {"": full, "_turn": after}.items():
        figures["rss" + key] = (of.rss - empty.rss) / count / 1024
        figures["uss" + key] = (of.uss - empty.uss) / count / 1024
    figures["empty"] = empty.rss / 2**20
    figures["rest"] = rest.cpu / rest.seconds * 1e3
    return figures


async def _interval() -> float:
    """Everybody is pinged once."""
    await asyncio.sleep(PING_INTERVAL)
    return PING_INTERVAL


JOB = Job(
    name="idle",
    work="idle",
    about=f"open connections, pinged both ways, by the server every {PING_INTERVAL} s",
    connections=10_000,
    columns=(
        Column("uss", "USS KiB/conn", ".2f", compared=True),
        Column("uss_turn", "after a turn", ".2f", compared=True),
        Column("rss", "RSS KiB/conn", ".2f"),
        Column("rss_turn", "after a turn", ".2f"),
        Column("empty", "empty RSS MiB", ".1f"),
        Column("rest", "CPU ms/s at rest", ".1f", compared=True),
        Column("cpu", "open CPU µs", ".0f", compared=True),
        Column("rate", "opened/s", ",.0f"),
        PEAK,
    ),
    measure=measure,
)
