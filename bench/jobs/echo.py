"""One small text message to and fro on each connection."""

from __future__ import annotations

from time import perf_counter

from bench import wire
from bench.client import PATIENCE, Client, Crowd
from bench.errors import BenchError
from bench.jobs import Column, Job, Run, measured
from bench.work import ECHO

_MESSAGE = wire.client_frame(ECHO)
_ECHO = wire.server_frame(ECHO)


class EchoClient(Client):
    """Sends, waits for the same bytes, sends again."""

    messages = 0
    _limit = 0
    _deadline = 0.0

    def on_open(self) -> None:
        self.crowd.arrive()

    def exchange(self, limit: int, deadline: float) -> None:
        """Send `limit` messages, or as many as fit before the deadline."""
        self.messages, self._limit, self._deadline = 0, limit, deadline
        self.transport.write(_MESSAGE)

    def consume(self, data: bytes) -> int:
        if data != _ECHO:
            return super().consume(data)
        self._next()
        return len(data)

    def on_text(self, payload: bytes) -> None:
        if payload != ECHO:
            raise BenchError(f"not an echo: {payload[:100]!r}")
        self._next()

    def _next(self) -> None:
        self.messages += 1
        if self.messages < self._limit or perf_counter() < self._deadline:
            self.transport.write(_MESSAGE)
        else:
            self.crowd.arrive()


async def measure(run: Run, path: str) -> dict[str, float]:
    """Open, exchange a few, then the measured ones."""
    crowd = Crowd(EchoClient, *run.address(path))
    try:
        await crowd.open(run.connections)
        await crowd.phase("first messages", lambda client: client.exchange(20, 0.0))
        deadline = 0.0 if run.turns else perf_counter() + run.seconds

        def begin(client: EchoClient) -> None:
            client.exchange(run.turns, deadline)

        window = await measured(run, lambda: crowd.phase("echo", begin, PATIENCE + run.seconds))
        messages = sum(client.messages for client in crowd.clients)
    finally:
        await crowd.close()
    return window.figures(messages)


JOB = Job(
    name="echo",
    about=f"{len(ECHO)} bytes of JSON to and fro",
    connections=64,
    columns=(
        Column("rate", "messages/s", ",.0f", compared=True),
        Column("cpu", "CPU µs/message", ".2f", compared=True),
        Column("server", "server core %", ".0f"),
        Column("load", "load core %", ".0f"),
    ),
    measure=measure,
)
