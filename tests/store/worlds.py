"""Where stores of one kind meet: what the contract needs of memory, of a Redis and of a cluster."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

from wsserver.store.memory import Hub, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wsserver.store.port import Store

    Script = Callable[["World"], Coroutine[None, None, None]]


class World(Protocol):
    """As one script sees it: stores that share what they hold, each as a process of its own would have it."""

    async def store(self, lease: float = 60.0) -> Store:
        """One more process, whose lease has begun; it is closed when the script has ended."""
        ...

    async def elapse(self, seconds: float) -> None:
        """That time is over by the clock of what is shared."""


class MemoryWorld:
    """A hub, and a clock that moves when it is told to."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.now = 0.0
        self.hub = Hub(lambda: self.now)
        self._stack = stack

    async def store(self, lease: float = 60.0) -> Store:
        store = MemoryStore(self.hub, lease=lease)
        await store.open()
        self._stack.push_async_callback(store.close)
        return store

    async def elapse(self, seconds: float) -> None:
        self.now += seconds


def in_memory(script: Script) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            await script(MemoryWorld(stack))

    asyncio.run(main())
