"""A server whose answer goes on word by word, when a test lets it, and what its clients see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.clock import run_virtually
from wsserver import Config, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.peer import Event, Peer
    from wsserver import Turn


class Steps:
    """A callback that goes on when it is told to: "go" answers "one two three", each word when it was let through."""

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(0)
        self.ended = asyncio.Event()
        self.cause: str | None = None

    async def __call__(self, turn: Turn) -> AsyncIterator[str]:
        try:
            for word in ("one ", "two ", "three"):
                await self.gate.acquire()
                yield word
        finally:
            self.cause = turn.cause
            self.ended.set()

    def let(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()


def serve(script: Callable[[Server, Steps], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """Runs a story with a fresh server."""

    async def main() -> None:
        steps = Steps()
        async with Server(steps, Config(port=0, **settings)) as server:
            await script(server, steps)

    run_virtually(main())


def seqs(events: list[Event]) -> list[int | None]:
    return [event.get("seq") for event in events]


def flags(peer: Peer) -> dict[str, Any]:
    data = peer.session["data"]
    return {name: data[name] for name in ("resumed", "recovered", "seq", "active_turn")}


async def detached(server: Server) -> None:
    """Returns once the server has noticed that nobody is connected."""
    await server.sockets.emptied()


async def begun(peer: Peer, steps: Steps, words: int) -> list[Event]:
    """A turn of which so many words have come."""
    await peer.ask("go", id="m1")
    steps.let(words)
    await peer.event("ack")
    return [await peer.event() for _ in range(1 + words)]
