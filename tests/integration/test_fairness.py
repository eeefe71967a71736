"""A callback that never awaits leaves the loop to others, by the real clock."""

from __future__ import annotations

import asyncio
from statistics import quantiles
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.peer import Peer
from wsserver import Config, Server, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.timed

#: What others may wait, at the 99th percentile, in seconds.
LONGEST_WAIT = 0.020

SAMPLES = 200


async def greedy(turn: Turn) -> AsyncIterator[str]:
    """Never awaits anything; what it shows is long, or nothing at all."""
    shown = "" if turn.content == "nothing" else turn.content
    while True:
        yield shown


async def p99(content: str) -> float:
    async with Server(greedy, Config(port=0, message_rate=0)) as server:
        url = server.urls[0]
        async with Peer.connect(url) as busy, Peer.connect(url) as other:
            await busy.ask(content)
            await busy.event("start")

            async def read() -> None:
                while (await busy.event())["event"] != "complete":
                    """Keeps up, so that nothing slows the callback down."""

            reading = asyncio.create_task(read())
            waits = []
            for _ in range(SAMPLES):
                sent = perf_counter()
                await other.send({"event": "ping"})
                await other.event("pong")
                waits.append(perf_counter() - sent)
            await busy.send({"event": "stop"})
            await reading
            return quantiles(waits, n=100)[98]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("content", ["nothing", "x" * 20, "x" * 5000], ids=["nothing", "tokens", "pages"])
def test_a_callback_that_never_awaits(content: str, run: Callable[..., float]) -> None:
    # Of three tries the best one: other programs of the machine hold up single ones.
    waits = []
    for _ in range(3):
        waits.append(run(p99(content)))
        if waits[-1] < LONGEST_WAIT:
            return
    raise AssertionError(f"others waited {waits} s at the 99th percentile")
