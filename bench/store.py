"""`python -m bench store`: what sessions take in Redis, and what it costs to keep them there.

For a Redis that nobody else uses meanwhile: memory is what it holds above its empty state, CPU time what its process
takes. All sessions are opened; each is given a message; its answer of `TOKENS` tokens comes in `FLUSHES` writes; the
answer ends. Each step is one write a session, with the changes that a server writes then.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from secrets import token_bytes
from time import process_time
from typing import TYPE_CHECKING, Any, cast

from redis import Redis

from bench.errors import BenchError
from bench.work import TOKENS
from wsserver.errors import StoreError
from wsserver.store.port import Batch, Origin, Outcome, Piece, Write
from wsserver.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Writes in which the tokens of an answer come.
FLUSHES = 8

#: Sessions of one flush.
_FLUSH = 1000

_TTL = 600.0
_MESSAGE = b'{"content":"What does a session take in Redis, if it is one of ten thousand?"}'
_TOKEN = b" token"
_FINAL = b'{"event":"complete","data":{"final":true,"status":"completed"},"session_id":"%s","turn":1,"seq":%d}'


@dataclass(frozen=True)
class Step:
    """What was written to each session, and what stands in Redis then; CPU times in µs a write, writes each second."""

    name: str
    keys: float
    size: float  # bytes
    ours: float
    redis: float
    rate: float


#: And how many writes each step has.
_STEPS = {"being opened": 1, "a message": 1, "an answer": FLUSHES, "its end": 1}


def _writes(session_id: str) -> Iterator[Write]:
    """All that is written of one session."""
    yield Write(session_id, 1, 1, _TTL, Origin("user", token_bytes(32)))
    said = b'{"role":"user",%s}' % _MESSAGE[1:-1]
    taken = Batch(1, (Piece(None, (b'{"event":"start","data":{},"session_id":"%s","turn":1,"seq":1}',)),))
    yield Write(
        session_id, 1, 2, _TTL, batch=taken, accepted={1: _MESSAGE}, last_turn=1, history=[said], facts={"id.1": b"m1"}
    )
    size = TOKENS // FLUSHES
    for flush in range(FLUSHES):
        before = 1 + flush * size
        batch = Batch(before + size, (Piece(1, (_TOKEN,) * size),))
        yield Write(session_id, 1, 3 + flush, _TTL, before=before, batch=batch)
    head = 1 + TOKENS
    final = Batch(head + 1, (Piece(None, (_FINAL % (session_id.encode(), head + 1),)),))
    answer = b'{"role":"assistant","content":"%s"}' % (_TOKEN * TOKENS)
    yield Write(session_id, 1, 3 + FLUSHES, _TTL, before=head, batch=final, finished=[1], history=[answer])


async def measure(url: str, sessions: int) -> list[Step]:
    """The steps, in order. Raises `BenchError` where Redis cannot be used, or is not empty."""
    store = RedisStore(url)
    try:
        await store.open()
        with Redis.from_url(url) as client:
            if cast("int", client.dbsize()) > 2:
                raise BenchError("this Redis is not empty: what others keep in it would be measured too")
            return await _measure(store, client.info, sessions)
    except StoreError as exc:
        raise BenchError(str(exc)) from None
    finally:
        await store.close()


async def _measure(store: RedisStore, info: Callable[[], Any], sessions: int) -> list[Step]:
    empty, steps = info(), []
    plans = [_writes(f"s_{number:022d}") for number in range(sessions)]
    for name, number in _STEPS.items():
        ours = redis = wall = 0.0
        for _ in range(number):
            writes = [next(plan) for plan in plans]
            for first in range(0, sessions, _FLUSH):
                cpu, begun, used = _cpu(info()), time.perf_counter(), process_time()
                outcomes = await store.write(writes[first : first + _FLUSH])
                ours, wall = ours + process_time() - used, wall + time.perf_counter() - begun
                redis += _cpu(info()) - cpu
                if set(outcomes) != {Outcome.DONE}:
                    raise BenchError(f"not all was written: {set(outcomes)}")
        full, count = info(), sessions * number
        keys = full["db0"]["keys"] - empty["db0"]["keys"]
        size = full["used_memory"] - empty["used_memory"]
        cost = (ours / count * 1e6, redis / count * 1e6, count / wall)
        steps.append(Step(name, keys / sessions, size / sessions, *cost))
    return steps


def _cpu(info: Any) -> float:
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def store(url: str, sessions: int) -> None:
    """Prints the table."""
    steps = asyncio.run(measure(url, sessions))
    lines = [
        f"{sessions} sessions, answers of {TOKENS} tokens in {FLUSHES} writes; CPU in µs a write",
        "",
        "| a session after | keys | bytes | our CPU | Redis's CPU | writes/s |",
        "|---|---|---|---|---|---|",
    ]
    for step in steps:
        cost = f"{step.ours:.1f} | {step.redis:.1f} | {step.rate:.0f}"
        lines.append(f"| {step.name} | {step.keys:.1f} | {step.size:.0f} | {cost} |")
    sys.stdout.write("\n".join(lines) + "\n")
