"""Places and the lease, as one process tells them to Redis: what is held, what is given back, what is told again."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.store.worlds import ALICE, opened
from wsserver import StoreError
from wsserver.store.lane import Lanes
from wsserver.store.port import NOTHING, Count, Seat
from wsserver.store.scripts import run
from wsserver.store.seating import Seating

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.store.redis_server import RedisServer
    from wsserver.store.scripts import Command

ANN = Seat("user", "ann")
BOB = Seat("user", "bob")


class Told(Lanes):
    """Answers when the test does."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[Command, asyncio.Future[Any]]] = asyncio.Queue()

    def call(self, command: Command) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait((command, answer))
        return answer

    async def told(self, *answer: Any) -> dict[str, int]:
        """What the next exchange says is held, by seat, once it has been answered so."""
        command, future = await self.asked.get()
        if isinstance(answer[0], Exception):
            future.set_exception(answer[0])
        else:
            future.set_result(list(answer))
        return told_by(command)


def told_by(command: Command) -> dict[str, int]:
    """What `seats.lua` is given: behind keys and processes lease, number, whether that is all, and then the seats."""
    keys = int(command.words[2])
    _, _, _, seats, *pairs = command.words[2 + 2 * keys :]
    pairs = pairs[: 2 * int(seats)]
    return {str(name, "utf-8"): int(held) for name, held in zip(pairs[::2], pairs[1::2], strict=True)}  # type: ignore[arg-type]


def seated(script: Callable[[Seating, Told], Coroutine[Any, Any, None]]) -> None:
    """Runs a story of a process that has said once that it lives, and holds nothing."""

    async def main() -> None:
        redis = Told()
        seating = Seating(redis, "p", "", 6.0)
        first = asyncio.create_task(seating.renew(NOTHING))
        await redis.told(b"ok", 0)
        await first
        await script(seating, redis)
        await seating.close()

    asyncio.run(main())


def test_what_is_held_is_told_as_it_changes_and_all_of_it_after_a_failure() -> None:
    async def script(seating: Seating, redis: Told) -> None:
        sitting = asyncio.create_task(seating.sit({ANN: 2, BOB: 2}))
        assert await redis.told(b"ok", 0) == {"user:ann": 0, "user:bob": 0}
        assert await sitting is None
        standing = asyncio.create_task(seating.stand([BOB]))
        assert await redis.told(StoreError("gone")) == {"user:bob": 0}
        with pytest.raises(StoreError):
            await standing
        renewing = asyncio.create_task(seating.renew(Count(connections=3)))
        told = await redis.told(b"ok", 0)
        assert told["user:ann"] == 1 and "user:bob" not in told
        assert told["count:connections"] == 3
        await renewing

    seated(script)


def test_what_is_asked_during_an_exchange_goes_into_the_next() -> None:
    async def script(seating: Seating, redis: Told) -> None:
        one = asyncio.create_task(seating.sit({ANN: 1}))
        command, answer = await redis.asked.get()
        two, three = asyncio.create_task(seating.sit({ANN: 1})), asyncio.create_task(seating.sit({BOB: 1}))
        await asyncio.sleep(0)
        answer.set_result([b"ok", 0])
        assert await redis.told(b"ok", 1, 0) == {"user:ann": 1, "user:bob": 0}
        assert [await one, await two, await three] == [None, ANN, None]

    seated(script)


@pytest.mark.parametrize("answered", [False, True])
def test_who_goes_away_while_it_waits_holds_nothing(answered: bool) -> None:
    async def script(seating: Seating, redis: Told) -> None:
        sitting = asyncio.create_task(seating.sit({ANN: 1}))
        _, answer = await redis.asked.get()
        if answered:
            # Whoever waits is about to hear it, in the very turn of the loop in which its client goes.
            answer.set_result([b"ok", 0])
            await asyncio.sleep(0)
        sitting.cancel()
        await asyncio.wait([sitting])
        assert sitting.cancelled()
        if not answered:
            answer.set_result([b"ok", 0])
            await asyncio.sleep(0)
        renewing = asyncio.create_task(seating.renew(NOTHING))
        assert (await redis.told(b"ok", 0))["user:ann"] == 0
        await renewing

    seated(script)


def test_who_waits_is_told_where_it_is_closed() -> None:
    async def script(seating: Seating, redis: Told) -> None:
        sitting = asyncio.create_task(seating.sit({ANN: 1}))
        await redis.asked.get()
        await seating.close()
        with pytest.raises(StoreError):
            await sitting

    seated(script)


def test_a_process_that_is_not_known_any_more_says_all_and_so_does_a_late_one() -> None:
    async def script(seating: Seating, redis: Told) -> None:
        sitting = asyncio.create_task(seating.sit({ANN: 2}))
        await redis.told(b"ok", 0)
        await sitting
        for answer in (b"whole", b"late"):
            asked = asyncio.create_task(seating.sit({BOB: 0}))
            assert "user:ann" not in await redis.told(answer)
            assert (await redis.told(b"ok", 2))["user:ann"] == 1
            await asked

    seated(script)


class TestOnRedis:
    def test_who_is_gone_before_it_sits_holds_no_place(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store, opened(server.url) as other:
                sitting = asyncio.create_task(store.sit({ALICE: 1}))
                await asyncio.sleep(0)
                sitting.cancel()
                await asyncio.wait([sitting])
                await store.renew()
                assert await other.sit({ALICE: 1}) is None

        asyncio.run(main())

    def test_what_was_asked_of_a_redis_that_hung_is_counted_right(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(f"{server.url}?socket_timeout=0.3") as store, opened(server.url) as other:
                assert await store.sit({ALICE: 9}) is None
                os.kill(server.pid, signal.SIGSTOP)
                try:
                    with pytest.raises(StoreError):
                        await store.sit({ALICE: 9})  # Redis does it later, but nobody hears of it
                    with pytest.raises(StoreError):
                        await store.stand([ALICE])
                finally:
                    os.kill(server.pid, signal.SIGCONT)
                await store.renew()
                assert await other.sit({ALICE: 1}) is None

        asyncio.run(main())

    def test_an_exchange_that_comes_late_changes_nothing(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store, opened(server.url) as other:
                assert await store.sit({ALICE: 2}) is None
                keys = ("processes:{seats}", f"process:{{seats}}:{store.process}")
                late = run("seats", [f"wsserver:{key}" for key in keys], store.process, 60_000, 1, "all", 0)
                with server.client() as client:
                    client_any: Any = client
                    assert client_any.execute_command(*late.words) == [b"late"]
                assert await other.sit({ALICE: 1}) == ALICE

        asyncio.run(main())
