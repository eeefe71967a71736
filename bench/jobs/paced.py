"""Answers at the pace of a model: 20 tokens a second on each of 1,000 connections, and how late each token comes.

A token is the time at which it was made. The clients begin at even distances over the time between two tokens, so
that the connections do not beat together. Both processes read the same clock.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns, perf_counter
from typing import Any

from bench import wire
from bench.client import PATIENCE, Crowd
from bench.errors import BenchError
from bench.jobs import PEAK, Column, Job, Run, latencies, measured
from bench.jobs.stream import StreamClient, check_turn
from bench.work import PACE, PACED_TOKENS, STAMP_WIDTH

_TOKEN = b'{"event":"token","data":{"value":"'
_STAMP = len(_TOKEN)


class PacedClient(StreamClient):
    """Notes how late each token came."""

    length = PACED_TOKENS

    def __init__(self, crowd: Crowd[Any], host: str, port: int, path: str) -> None:
        super().__init__(crowd, host, port, path)
        self.delays: list[int] = []

    def count(self, data: bytes) -> int:
        at = 0
        now = monotonic_ns()
        while (bounds := wire.payload_bounds(data, at)) is not None:
            start, end = bounds
            if data.startswith(_TOKEN, start):
                stamped = start + _STAMP
                self.delays.append(now - int(data[stamped : stamped + STAMP_WIDTH]))
                self.tokens += 1
            else:
                self.on_frame(data[at], data[start:end])
            at = end
        return at

    def check(self, envelopes: list[dict[str, Any]]) -> None:
        stamps = [envelope["data"]["value"] for envelope in envelopes]
        if stamps != sorted(set(stamps)) or any(len(stamp) != STAMP_WIDTH for stamp in stamps):
            raise BenchError(f"not the times of tokens: {stamps}")
        check_turn(envelopes, value=None)


async def _in_steps(crowd: Crowd[PacedClient], name: str, limit: int, seconds: float) -> float:
    """Let the clients begin one by one, spread over the time between two tokens; `limit` 0: the turn that is proved."""
    loop = asyncio.get_running_loop()
    step = PACE / len(crowd.clients)
    deadline = perf_counter() + seconds
    position = iter(range(len(crowd.clients)))

    def begin(client: PacedClient) -> None:
        if limit:
            loop.call_later(step * next(position), client.stream, limit, deadline)
        else:
            loop.call_later(step * next(position), client.prove)

    return await crowd.phase(name, begin, PATIENCE + seconds + limit * PACED_TOKENS * PACE)


async def measure(run: Run, path: str) -> dict[str, float]:
    """Open, take the turn that is proved, then the measured ones."""
    crowd = Crowd(PacedClient, *run.address(path))
    seconds = 0.0 if run.turns else run.seconds
    try:
        await crowd.open(run.connections)
        await _in_steps(crowd, "first turn", 0, 0.0)
        window = await measured(run, lambda: _in_steps(crowd, "paced", run.turns or 1, seconds))
        delays = [delay / 1e9 for client in crowd.clients for delay in client.delays]
        tokens = sum(client.turns for client in crowd.clients) * PACED_TOKENS
    finally:
        await crowd.close()
    if len(delays) != tokens:
        raise BenchError(f"{len(delays)} delays of {tokens} tokens")
    return window.figures(tokens) | latencies(delays)


JOB = Job(
    name="paced",
    work="paced",
    about=f"{1 / PACE:.0f} tokens a second on each connection, from yield to client",
    connections=1000,
    columns=(
        Column("cpu", "CPU µs/token", ".2f", compared=True),
        Column("instructions", "instructions/token", ",.0f", compared=True),
        Column("p50", "p50 ms", ".2f"),
        Column("p99", "p99 ms", ".2f", compared=True),
        Column("server", "server core %", ".0f"),
        Column("load", "load core %", ".0f"),
        PEAK,
    ),
    measure=measure,
)
