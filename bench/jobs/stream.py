"""Answers of 256 tokens, each token a frame of its own with its JSON envelope, to each of 64 connections at once.

The count of each turn must be exact. The first turn of a connection is not measured: its every envelope is read
as JSON, so that what is counted afterwards by its first bytes is known to be the same work for all peers.
"""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

from bench import wire
from bench.client import PATIENCE, Client, Crowd
from bench.errors import BenchError
from bench.jobs import PEAK, Column, Job, Run, Window, measured
from bench.work import MESSAGE, TOKEN, TOKENS

_MESSAGE = wire.client_frame(MESSAGE)
_TOKEN = b'{"event":"token"'
_FINAL = b'"final":true'
_TEXT = 0x80 | wire.TEXT
#: Seconds.
SLOWEST_TOKEN = 200e-6


class StreamClient(Client):
    """Sends the message, counts the tokens of its answer, sends the next."""

    #: Tokens of an answer.
    length = TOKENS
    tokens = 0
    turns = 0
    _limit = 0
    _deadline = 0.0
    _proof: list[dict[str, Any]] | None = None

    def prove(self) -> None:
        """Take one turn, reading every envelope."""
        self._limit, self._proof = 1, []
        self._say()

    def stream(self, limit: int, deadline: float) -> None:
        """Take `limit` turns, or as many as begin before the deadline."""
        self.turns, self._limit, self._deadline = 0, limit, deadline
        self._say()

    def _say(self) -> None:
        self.tokens = 0
        self.transport.write(_MESSAGE)

    def consume(self, data: bytes) -> int:
        """Count token frames by their first bytes; the rest goes the long way."""
        if self._proof is not None:
            return super().consume(data)
        return self.count(data)

    def count(self, data: bytes) -> int:
        """Take whole frames, most of them tokens; return where the rest begins."""
        at, end, tokens = 0, len(data), self.tokens
        # An empty ping is two bytes and must be answered at once.
        while at + 2 <= end:
            size = data[at + 1]
            if size < 126:
                start = at + 2
            elif size == 126 and at + 4 <= end:
                size, start = data[at + 2] << 8 | data[at + 3], at + 4
            else:
                break
            stop = start + size
            if stop > end:
                break
            if data[at] == _TEXT and data.startswith(_TOKEN, start):
                tokens += 1
            else:
                self.tokens = tokens
                self.on_frame(data[at], data[start:stop])
                tokens = self.tokens
            at = stop
        self.tokens = tokens
        return at

    def on_text(self, payload: bytes) -> None:
        if self._proof is None and _FINAL not in payload:
            if b'"event":"session"' in payload:
                self.crowd.arrive()
            return
        envelope = json.loads(payload)
        if self._proof is not None and envelope["event"] == "token":
            self.tokens += 1
            self._proof.append(envelope)
        if envelope["data"].get("final") is True:
            self._over(envelope)

    def check(self, envelopes: list[dict[str, Any]]) -> None:
        """Raise unless these are the tokens of a turn."""
        check_turn(envelopes)

    def _over(self, final: dict[str, Any]) -> None:
        if final["event"] != "complete" or self.tokens != self.length:
            raise BenchError(f"{self.tokens} tokens instead of {self.length}, then {final}")
        if self._proof is not None:
            self.check(self._proof)
            self._proof = None
        self.turns += 1
        if self.turns < self._limit or perf_counter() < self._deadline:
            self._say()
        else:
            self.crowd.arrive()


def check_turn(envelopes: list[dict[str, Any]], value: str | None = TOKEN) -> None:
    """Raise unless these are the tokens of one turn of one session, numbered without a gap; `value` None: any."""
    first = envelopes[0]
    for number, envelope in enumerate(envelopes, first["seq"]):
        expected = {
            "event": "token",
            "data": {"value": envelope["data"]["value"] if value is None else value},
            "session_id": first["session_id"],
            "turn": first["turn"],
            "seq": number,
        }
        if envelope != expected:
            raise BenchError(f"not the same work: {envelope} instead of {expected}")


def patience(run: Run, tokens: int) -> float:
    """Seconds that so many tokens, beside the measured seconds, may take the slowest peer."""
    return PATIENCE + run.seconds + tokens * SLOWEST_TOKEN


async def stream(run: Run, path: str, connections: int) -> tuple[Window, int]:
    """Open, take the turn that is proved, then the measured ones. Returns the tokens of these too."""
    crowd = Crowd(StreamClient, *run.address(path))
    longest = patience(run, connections * TOKENS)
    try:
        await crowd.open(connections)
        await crowd.phase("first turn", StreamClient.prove, longest)
        deadline = 0.0 if run.turns else perf_counter() + run.seconds

        def begin(client: StreamClient) -> None:
            client.stream(run.turns, deadline)

        window = await measured(run, lambda: crowd.phase("stream", begin, longest + run.turns * connections))
        if any(client.tokens != TOKENS for client in crowd.clients):
            raise BenchError("tokens came after the end of a turn")
        return window, sum(client.turns for client in crowd.clients) * TOKENS
    finally:
        await crowd.close()


async def measure(run: Run, path: str) -> dict[str, float]:
    """The same number of connections throughout."""
    window, tokens = await stream(run, path, run.connections)
    return window.figures(tokens)


JOB = Job(
    name="stream",
    work="stream",
    about=f"answers of {TOKENS} tokens, a frame each",
    connections=64,
    columns=(
        Column("cpu", "CPU µs/token", ".2f", compared=True),
        Column("instructions", "instructions/token", ",.0f", compared=True),
        Column("rate", "tokens/s", ",.0f", compared=True),
        Column("server", "server core %", ".0f"),
        Column("load", "load core %", ".0f"),
        PEAK,
    ),
    measure=measure,
)
