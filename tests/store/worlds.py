"""Where stores of one kind meet: what the contract needs of memory, of a Redis and of a cluster."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from wsserver.store.memory import Hub, MemoryStore
from wsserver.store.port import Batch, Origin, Outcome, Piece, Seat, Write
from wsserver.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from redis import Redis

    from wsserver.store.port import Store

    Script = Callable[["World"], Coroutine[None, None, None]]

FIRST = Write("s_1", 1, 1, 60.0, Origin("alice", b"digest"), batch=Batch(1, (Piece(None, (b"{}",)),)))
SECOND = Write("s_1", 1, 2, 60.0, None, 1, Batch(2, (Piece(1, (b"x",)),)))
ALICE = Seat("user", "alice")


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


class RedisWorld:
    """A Redis, or a cluster; its clock is its own, so what would expire is brought nearer to its end instead."""

    def __init__(self, stack: AsyncExitStack, url: str, clients: Sequence[Redis]) -> None:
        self.url = url
        self._stack = stack
        self._clients = clients

    async def store(self, lease: float = 60.0) -> Store:
        store = RedisStore(self.url, lease=lease)
        self._stack.push_async_callback(store.close)
        await store.open()
        return store

    async def elapse(self, seconds: float) -> None:
        milliseconds = round(seconds * 1000)
        for client in self._clients:
            for key in client.scan_iter(count=1000):
                left: Any = client.pttl(key)
                assert left > 0, f"{key} would be kept for ever"
                client.pexpire(key, left - milliseconds)
                if key.startswith(b"wsserver:{") and key.endswith(b"}"):
                    kept: Any = client.hget(key, "kept")
                    client.hset(key, "kept", int(kept or 0) - milliseconds)
                if key.startswith(b"wsserver:processes"):
                    for name, end in cast("list[tuple[bytes, float]]", client.zrange(key, 0, -1, withscores=True)):
                        client.zadd(key, {name: end - milliseconds})


def on_redis(url: str, clients: Sequence[Redis], script: Script) -> None:
    """`clients` are to all primaries."""
    for client in clients:
        client.flushall()

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await script(RedisWorld(stack, url, clients))

    asyncio.run(main())


async def exercise(one: Store, two: Store) -> None:
    """Each operation once, so that of two opened stores something is kept under every name."""
    batch = Batch(1, (Piece(None, (b"{}",)),))
    first = Write("s_1", 1, 1, 60.0, Origin("alice", b"digest"), batch=batch, accepted={1: b"1"}, last_turn=1)
    later = Write("s_1", 1, 2, 60.0, facts={"state": b"{}"}, history=[b"1"], history_length=9, trim=1, released=True)
    tokens = Batch(3, (Piece(1, (b"a", b"b")),))
    assert await one.write([first, Write("s_2", 1, 1, 60.0, Origin(None, b"digest"), ended=True)]) == [Outcome.DONE] * 2
    assert await one.write([later]) == [Outcome.DONE]
    assert await two.leave("s_1", b"letter")
    copy = await two.take("s_1", 1, lost=True)
    assert copy is not None and copy.letters == (b"letter",)
    anew = Write("s_1", 2, 1, 60.0, None, 1, tokens, anew=True, finished=[1], accepted={2: b"2"}, released=True)
    assert await two.write([anew]) == [Outcome.DONE]
    assert await one.leave("s_1", b"letter")
    assert await one.find("s_1") is not None and await one.read("s_1", 1, 10) == [tokens]
    await one.post([(two.process, b"letter"), (one.process, b"letter")])
    assert await two.receive() == [b"letter"]
    seats = {Seat("user", "alice"): 2, Seat("address", "::1"): 2}
    assert await one.sit(seats) is None and await two.sit(seats) is None
    await two.stand(seats)
    await one.renew()
    assert await two.is_alive(one.process)


@asynccontextmanager
async def opened(url: str, lease: float = 60.0) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, lease=lease)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def open_and_close(url: str) -> None:
    """Raises `StoreError` where it cannot be opened."""
    async with opened(url):
        pass
