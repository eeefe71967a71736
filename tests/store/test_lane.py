"""Ways to Redis: what leaves together, and how often one that is away is asked."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from wsserver import StoreError
from wsserver.store import address
from wsserver.store.lane import Lanes
from wsserver.store.scripts import Command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver.store.address import Client

KEY = "wsserver:test:lane"


class Road:
    """Lanes to a Redis, and how many commands each pipeline had."""

    def __init__(self, client: Client, shown: str) -> None:
        self.lanes = Lanes(client, shown)
        self.pipelines: list[int] = []
        counted: Any = client
        self._make = counted.pipeline
        counted.pipeline = self._pipeline

    def _pipeline(self, **settings: Any) -> Any:
        pipeline: Any = self._make(**settings)
        execute = pipeline.execute

        async def counted(**settings: Any) -> Any:
            self.pipelines.append(len(pipeline))
            return await execute(**settings)

        pipeline.execute = counted
        return pipeline


@asynccontextmanager
async def road(url: str) -> AsyncIterator[Road]:
    where = address.parse(url)
    client = where.client()
    made = Road(client, where.shown)
    try:
        yield made
    finally:
        await made.lanes.close()
        await address.close(client)


def push(value: int) -> Command:
    return Command(KEY, ("RPUSH", KEY, value))


async def cleared(lanes: Lanes) -> None:
    await lanes.call(Command(KEY, ("DEL", KEY)))


class TestTogether:
    def test_what_comes_while_a_pipeline_is_under_way_leaves_in_the_next(self, redis_url: str) -> None:
        async def main() -> None:
            async with road(redis_url) as way:
                await cleared(way.lanes)
                first = way.lanes.call(push(0))
                await asyncio.sleep(0)  # it has left
                rest = [way.lanes.call(push(number)) for number in range(1, 20)]
                assert await asyncio.gather(first, *rest) == list(range(1, 21))
                assert way.pipelines == [1, 1, 19]
                assert await way.lanes.call(Command(KEY, ("LINDEX", KEY, 7))) == b"7"

        asyncio.run(main())

    def test_many_leave_in_pipelines_of_a_bounded_size(self, redis_url: str) -> None:
        async def main() -> None:
            async with road(redis_url) as way:
                await cleared(way.lanes)
                calls = [way.lanes.call(push(number)) for number in range(600)]
                assert await asyncio.gather(*calls) == list(range(1, 601))
                assert way.pipelines == [1, 256, 256, 88]

        asyncio.run(main())

    def test_what_nobody_waits_for_any_more_does_not_leave(self, redis_url: str) -> None:
        async def main() -> None:
            async with road(redis_url) as way:
                await cleared(way.lanes)
                calls = [way.lanes.call(push(number)) for number in range(3)]
                calls[1].cancel()
                assert [await calls[0], await calls[2]] == [1, 2]

        asyncio.run(main())


class TestTrouble:
    def test_what_waits_when_the_lanes_close_fails(self, redis_url: str) -> None:
        async def main() -> None:
            async with road(redis_url) as way:
                await cleared(way.lanes)
                blocked = way.lanes.call(Command(KEY, ("BLPOP", KEY, 5)))
                await asyncio.sleep(0)
                waiting = way.lanes.call(push(1))
                await way.lanes.close()
                for call in (blocked, waiting):
                    with pytest.raises(StoreError, match="this store is closed"):
                        await call
                with pytest.raises(StoreError, match="this store is closed"):
                    await way.lanes.call(push(1))

        asyncio.run(main())

    def test_what_redis_py_should_not_let_out_is_told_to_the_caller(self, redis_url: str) -> None:
        async def main() -> None:
            async with road(redis_url) as way:
                unsendable: Any = object()
                with pytest.raises(StoreError, match="fails with|refuses|cannot be reached"):
                    await way.lanes.call(Command(KEY, ("RPUSH", KEY, unsendable)))
                await cleared(way.lanes)

        asyncio.run(main())

    def test_one_that_is_away_is_asked_less_and_less_often(self) -> None:
        random.seed(1)
        url = "unix:///no/such/redis.sock"

        async def main() -> list[float]:
            loop = asyncio.get_running_loop()
            times = []
            async with road(url) as way:
                for _ in range(1100):  # an hour
                    with pytest.raises(StoreError, match="cannot be reached"):
                        await way.lanes.call(push(1))
                    times.append(loop.time())
            return times

        times = run_virtually(main())
        # The first is told within a second, and then some seconds pass between two.
        assert times[0] < 1.0
        pauses = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        assert pauses[0] < 1.0 and 1.5 < min(pauses[10:]) and max(pauses) < 4.0
        assert max(pauses[10:]) - min(pauses[10:]) > 1.0  # so that processes do not come back together
