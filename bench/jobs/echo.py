"""One small JSON message to and fro on each connection: parsed by the server, and serialised in its answer."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

from bench import wire
from bench.client import PATIENCE, Client, Crowd
from bench.errors import BenchError
from bench.jobs import PEAK, Column, Job, Run, latencies, measured
from bench.work import ECHO

_MESSAGE = wire.client_frame(ECHO)


class EchoClient(Client):
    """Sends, waits for the answer, sends again. The first answer is read; all others must be the same bytes."""

    messages = 0
    _session = ""
    _answer = b""
    _limit = 0
    _deadline = 0.0
    _sent = 0.0

    def __init__(self, crowd: Crowd[Any], host: str, port: int, path: str) -> None:
        super().__init__(crowd, host, port, path)
        self.times: list[float] = []

    def exchange(self, limit: int, deadline: float) -> None:
        """Send `limit` messages, or as many as fit before the deadline."""
        self.messages, self._limit, self._deadline = 0, limit, deadline
        self.times = []
        self._send()

    def consume(self, data: bytes) -> int:
        if data != self._answer:
            return super().consume(data)
        self._next()
        return len(data)

    def on_text(self, payload: bytes) -> None:
        if not self._session:
            self._session = json.loads(payload)["session_id"]
            self.crowd.arrive()
            return
        expected = {"event": "pong", "data": json.loads(ECHO)["data"], "session_id": self._session}
        if json.loads(payload) != expected:
            raise BenchError(f"not the same work: {payload[:200]!r} instead of {expected}")
        self._answer = wire.server_frame(payload)
        self._next()

    def _send(self) -> None:
        self._sent = perf_counter()
        self.transport.write(_MESSAGE)

    def _next(self) -> None:
        now = perf_counter()
        self.times.append(now - self._sent)
        self.messages += 1
        if self.messages < self._limit or now < self._deadline:
            self._send()
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
        times = [seconds for client in crowd.clients for seconds in client.times]
    finally:
        await crowd.close()
    return window.figures(messages) | latencies(times)


JOB = Job(
    name="echo",
    work="echo",
    about=f"{len(ECHO)} bytes of JSON, parsed and serialised",
    connections=64,
    columns=(
        Column("cpu", "CPU µs/message", ".2f", compared=True),
        Column("instructions", "instructions/message", ",.0f", compared=True),
        Column("rate", "messages/s", ",.0f", compared=True),
        Column("p50", "p50 ms", ".2f"),
        Column("p99", "p99 ms", ".2f"),
        Column("server", "server core %", ".0f"),
        Column("load", "load core %", ".0f"),
        PEAK,
    ),
    measure=measure,
)
