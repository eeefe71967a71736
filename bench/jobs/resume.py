"""A storm: all connections are lost at once and come back at once, each to its session and to what it missed.

Beside it, in the same run, the same number of fresh connections. A resumed one is live when `replayed` has come.
"""

from __future__ import annotations

import asyncio
import json
from time import perf_counter
from typing import Any

from bench.client import Client, Crowd
from bench.errors import BenchError
from bench.jobs import PEAK, Column, Job, Run, latencies, measured
from bench.jobs.stream import StreamClient, patience
from bench.work import TOKENS

#: Events at the end of its only answer that a client had not seen.
_MISSED = 16
#: What knocks at the same time: fewer than the kernel keeps for a server that is busy.
_AT_ONCE = 2000
#: Seconds for the server to see that its clients are gone.
_QUIET = 1.0


class FirstClient(StreamClient):
    """Keeps the session event, and has one answer."""

    session: dict[str, Any]

    def on_text(self, payload: bytes) -> None:
        if b'"event":"session"' in payload:
            self.session = json.loads(payload)
        super().on_text(payload)

    def query(self) -> str:
        """How this client comes back: it takes one answer, `start`, the tokens and `complete`."""
        data = self.session["data"]
        last_seq = TOKENS + 2 - _MISSED
        return f"?resume={data['resume_token']}&last_seq={last_seq}&epoch={data['epoch']}"

    def answer(self) -> None:
        """Take one turn."""
        self.stream(1, 0.0)


class TimedClient(Client):
    """Notes the seconds from its request to its last event."""

    seconds = 0.0
    _began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._began = perf_counter()
        super().connection_made(transport)

    def live(self) -> None:
        """The connection has all that it waited for."""
        self.seconds = perf_counter() - self._began
        self.crowd.arrive()


class FreshClient(TimedClient):
    """A new session."""

    def on_text(self, payload: bytes) -> None:
        if json.loads(payload)["data"]["resumed"]:
            raise BenchError("a fresh connection was resumed")
        self.live()


class ResumedClient(TimedClient):
    """Takes its session again, what it missed, and `replayed`."""

    _events = 0

    def on_text(self, payload: bytes) -> None:
        event = json.loads(payload)
        if event["event"] == "session":
            if not event["data"]["recovered"]:
                raise BenchError(f"not recovered: {event}")
        elif event["event"] != "replayed":
            self._events += 1
        elif event["data"]["count"] != _MISSED or self._events != _MISSED:
            raise BenchError(f"{self._events} events instead of {_MISSED}, then {event}")
        else:
            self.live()


async def measure(run: Run, path: str) -> dict[str, float]:
    """Fresh ones first, which go again; then sessions with an answer each, lost and resumed."""
    address, count = run.address(path), run.connections
    fresh = Crowd(FreshClient, *address)
    try:
        beside = await measured(run, lambda: fresh.open(count, _AT_ONCE))
    finally:
        await fresh.close()
    first = Crowd(FirstClient, *address)
    try:
        await first.open(count)
        await first.phase("answers", FirstClient.answer, patience(run, count * TOKENS))
        queries = [client.query() for client in first.clients]
    finally:
        await first.abort()
    await asyncio.sleep(_QUIET)
    again = Crowd(ResumedClient, *address)
    try:
        window = await measured(run, lambda: again.open(count, _AT_ONCE, queries))
        times = [client.seconds for client in again.clients]
    finally:
        await again.close()
    figures = window.figures(count) | latencies(times)
    figures["fresh"] = beside.cpu / count * 1e6
    figures["fresh_seconds"] = beside.seconds
    figures["of_fresh"] = figures["cpu"] / figures["fresh"]
    return figures


JOB = Job(
    name="resume",
    work="resume",
    about=f"sessions that all come back, {_AT_ONCE} at a time, and missed {_MISSED} events each",
    connections=5000,
    columns=(
        Column("seconds", "s until all live", ".2f", compared=True),
        Column("fresh_seconds", "s, fresh", ".2f"),
        Column("cpu", "CPU µs/resume", ".0f", compared=True),
        Column("fresh", "CPU µs, fresh", ".0f"),
        Column("of_fresh", "resume ÷ fresh", ".2f"),
        Column("instructions", "instructions/resume", ",.0f"),
        Column("p50", "p50 ms", ".0f"),
        Column("p99", "p99 ms", ".0f"),
        PEAK,
    ),
    measure=measure,
)
