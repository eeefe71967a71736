"""Binary messages of 1 MiB to and fro, one at a time on each connection."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from bench import wire
from bench.client import PATIENCE, Client, Crowd
from bench.errors import BenchError
from bench.jobs import PEAK, Column, Job, Run, latencies, measured
from bench.work import LARGE, LARGE_MESSAGE

_MESSAGE = wire.client_frame(LARGE_MESSAGE, wire.BINARY)
_HEADER = wire.server_header(LARGE, wire.BINARY)


class LargeClient(Client):
    """Sends, waits for the same bytes, sends again."""

    messages = 0
    _limit = 0
    _deadline = 0.0
    _sent = 0.0

    def __init__(self, crowd: Crowd[Any], host: str, port: int, path: str) -> None:
        super().__init__(crowd, host, port, path)
        self.times: list[float] = []
        self._answer = bytearray()

    def on_open(self) -> None:
        self.crowd.arrive()

    def exchange(self, limit: int, deadline: float) -> None:
        """Send `limit` messages, or as many as fit before the deadline."""
        self.messages, self._limit, self._deadline = 0, limit, deadline
        self.times = []
        self._send()

    def consume(self, data: bytes) -> int:
        if not data:
            return 0
        answer = self._answer
        if not answer and data[0] & 0x08:  # a control frame stands before the message, or behind it
            bounds = wire.payload_bounds(data, 0)
            if bounds is None:
                return 0
            start, taken = bounds
            self.on_frame(data[0], data[start:taken])
        else:
            taken = min(len(data), len(_HEADER) + LARGE - len(answer))
            answer += data[:taken]
            if len(answer) == len(_HEADER) + LARGE:
                if not answer.startswith(_HEADER) or memoryview(answer)[len(_HEADER) :] != LARGE_MESSAGE:
                    raise BenchError(f"not the message that was sent: {bytes(answer[:20])!r}")
                self._answer = bytearray()
                self._next()
        return taken + self.consume(data[taken:])

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
    crowd = Crowd(LargeClient, *run.address(path))
    try:
        await crowd.open(run.connections)
        await crowd.phase("first messages", lambda client: client.exchange(2, 0.0))
        deadline = 0.0 if run.turns else perf_counter() + run.seconds

        def begin(client: LargeClient) -> None:
            client.exchange(run.turns, deadline)

        window = await measured(run, lambda: crowd.phase("large", begin, PATIENCE + run.seconds))
        messages = sum(client.messages for client in crowd.clients)
        times = [seconds for client in crowd.clients for seconds in client.times]
    finally:
        await crowd.close()
    figures = window.figures(messages) | latencies(times)
    mebibytes = 2 * LARGE / 2**20
    figures["throughput"] = mebibytes / figures["cpu"] * 1e6
    return figures


JOB = Job(
    name="large",
    work="large",
    about=f"{LARGE // 2**20} MiB to and fro",
    connections=4,
    columns=(
        Column("throughput", "MiB/s of CPU", ",.0f", compared=True),
        Column("cpu", "CPU µs/message", ",.0f", compared=True),
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
