"""Turns of synchronous generators, in real threads and real time."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.adapters.running import LONG, run
from tests.peer import Event, Peer
from wsserver import Config, Server
from wsserver.adapters import threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from wsserver import Item
    from wsserver.adapters.threads import SyncTurn


@asynccontextmanager
async def talking(generate: Any, **settings: Any) -> AsyncIterator[Peer]:
    async with Server(generate, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]) as peer:
        yield peer


def ask(function: Callable[[SyncTurn], Iterable[Item]], content: Any = "go") -> list[Event]:
    """All events of one turn; afterwards no thread is left."""
    generate = threads.callback(function)

    async def main() -> list[Event]:
        async with talking(generate) as peer:
            await peer.ask(content)
            return await peer.turn()

    events: list[Event] = run(main())
    assert (generate.threads.running, generate.threads.orphans) == (0, 0)
    return events


class Hanging:
    """A generator that hangs between two items, until it is let go; it says where and how it ended."""

    def __init__(self, error: Exception | None = None) -> None:
        self.hangs, self.let_go, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.idents: list[int] = []
        self._error = error

    def __call__(self, turn: Any = None) -> Iterator[str]:
        self.idents.append(threading.get_ident())
        try:
            yield "first"
            self.hangs.set()
            assert self.let_go.wait(LONG)
            yield "second"
        except GeneratorExit:
            self.idents.append(threading.get_ident())
            self.closed.set()
            if self._error is not None:
                raise self._error from None
            raise


async def until(condition: Callable[[], bool]) -> None:
    """For what a thread does last, behind all that it could say."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
