"""Turns of pipelines of Kotaemon's shape, as the person sees them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.adapters.kotaemon_shapes import Pipeline
from tests.adapters.running import run
from tests.peer import Event, Peer
from wsserver import Config, Server
from wsserver.adapters.kotaemon import KotaemonTurn, kotaemon_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@asynccontextmanager
async def talking(generate: Any, **hooks: Any) -> AsyncIterator[Peer]:
    async with Server(generate, Config(port=0), **hooks) as server, Peer.connect(server.urls[0]) as peer:
        yield peer


def ask(factory: Callable[[KotaemonTurn], Any], content: Any = "Tea?", **options: Any) -> list[Event]:
    """All events of one turn; afterwards no thread is left."""
    generate = kotaemon_app(factory, **options)

    async def main() -> list[Event]:
        async with talking(generate) as peer:
            await peer.ask(content)
            return await peer.turn()

    events: list[Event] = run(main())
    assert (generate.threads.running, generate.threads.orphans) == (0, 0)
    return events


def shown(*documents: Any, answer: Any = None, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    """The events between `start` and the end, without what they have in common."""
    events = ask(lambda turn: Pipeline(documents, answer), **options)
    assert events[-1]["data"]["status"] == "completed", events[-1]
    return [(event["event"], event["data"]) for event in events[1:-1]]
