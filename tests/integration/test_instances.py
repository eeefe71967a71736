"""Several processes that share a real Redis: killed, stopped and continued, and without their Redis for a while."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.integration.redis_tempest import Fleet, left
from tests.store.redis_server import RedisServer, wait_until
from wsserver import Count, Remote, SessionNotFound, push
from wsserver.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Every write is on the disk before it is answered.
DURABLE = ["--appendonly", "yes", "--appendfsync", "always"]

both = pytest.mark.parametrize("durability", ["fast", "strict"])


def mostly(durability: str) -> pytest.MarkDecorator:
    """The other one is left to those who have time."""
    other = "strict" if durability == "fast" else "fast"
    return pytest.mark.parametrize("durability", [durability, pytest.param(other, marks=pytest.mark.soak)])


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, DURABLE) as server:
        yield server


@contextmanager
def fleet_on(redis: RedisServer, durability: str, seed: int = 1) -> Iterator[Fleet]:
    fleet = Fleet(redis.url, durability, seed=seed)
    try:
        yield fleet
    finally:
        fleet.close()


def nothing_is_left(redis: RedisServer, fleet: Fleet) -> None:
    """But for sessions whose clients were told that they could not come back: those wait for them, for a time."""
    with redis.client() as client:
        if fleet.told["forgotten"] + fleet.told["cut"] == 0:
            wait_until(lambda: not left(client))
        assert [key for key in client.scan_iter() if client.ttl(key) == -1] == []


@both
def test_processes_are_killed_and_stopped(redis: RedisServer, durability: str) -> None:
    with fleet_on(redis, durability) as fleet:
        asyncio.run(fleet.talk(12, 4, fleet.replace, fleet.hold, fleet.replace))
        assert fleet.told["whole"] > 20
        assert fleet.told["forgotten"] == 0
        nothing_is_left(redis, fleet)


async def out_for(redis: RedisServer, seconds: float) -> None:
    redis.kill()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(redis.start)


@mostly("fast")
def test_redis_is_killed_and_starts_again(redis: RedisServer, durability: str) -> None:
    with fleet_on(redis, durability) as fleet:
        asyncio.run(fleet.talk(8, 3, lambda: out_for(redis, 0), lambda: out_for(redis, 2)))
        assert fleet.told["whole"] > 8
        nothing_is_left(redis, fleet)


@mostly("strict")
def test_redis_is_full_for_a_while(redis: RedisServer, durability: str) -> None:
    async def fill() -> None:
        with redis.client() as client:
            client.config_set("maxmemory", "1mb")
            await asyncio.sleep(2)
            client.config_set("maxmemory", "0")

    with fleet_on(redis, durability) as fleet:
        asyncio.run(fleet.talk(8, 3, fill))
        assert fleet.told["whole"] > 8
        nothing_is_left(redis, fleet)


@pytest.mark.soak
@both
@pytest.mark.parametrize("seed", range(3))
def test_for_long(redis: RedisServer, durability: str, seed: int) -> None:
    async def out() -> None:
        await out_for(redis, 10)

    with fleet_on(redis, durability, seed) as fleet:
        asyncio.run(fleet.talk(40, 20, fleet.replace, out, fleet.hold, fleet.replace, out, fleet.hold))
        nothing_is_left(redis, fleet)


def test_a_program_that_is_no_server(redis: RedisServer) -> None:
    async def main(url: str) -> None:
        async with connect(url) as chat:
            listening = asyncio.create_task(anext(chat.events()))
            await asyncio.sleep(0.1)
            assert chat.session_id is not None
            await push(redis.url, chat.session_id, "ticket", {"n": 1})
            event = await listening
            assert (event.name, event.data) == ("ticket", {"n": 1})
            with pytest.raises(SessionNotFound):
                await push(redis.url, "s_unknown", "ticket")
            async with Remote(redis.url) as remote, asyncio.timeout(10):
                # They say what they have with each sign of life.
                while await remote.count() != Count(len(fleet.instances), 1, 1):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                await remote.end(chat.session_id)
                while await remote.count() != Count(len(fleet.instances)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    with fleet_on(redis, "fast") as fleet:
        asyncio.run(main(fleet.instances[0].url))
