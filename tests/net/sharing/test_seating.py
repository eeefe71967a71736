"""Limits per address and per user hold over all servers that share a store."""

from __future__ import annotations

import asyncio

from tests.net.instances import LEASE, Instances, share
from tests.net.steps import Steps
from tests.peer import Peer, status
from wsserver import Request, User


def test_connections_of_an_address_are_counted_everywhere() -> None:
    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]), Peer.connect(two.urls[0]):
            assert await status(one.urls[0]) == 429
            assert await status(two.urls[0]) == 429
        await one.sockets.emptied()
        await two.sockets.emptied()
        await asyncio.sleep(0.1)
        async with Peer.connect(one.urls[0]), Peer.connect(one.urls[0]):
            assert await status(two.urls[0]) == 429

    share(story, Steps(), max_connections_per_ip=2, handshake_rate=0)


def test_connections_of_a_user_are_counted_everywhere() -> None:
    async def authenticate(request: Request) -> User | None:
        return User(request.headers["x-user"])

    async def story(instances: Instances) -> None:
        one = await instances.start(authenticate=authenticate)
        two = await instances.start(authenticate=authenticate)
        async with Peer.connect(one.urls[0], "X-User: ann") as peer:
            assert await status(two.urls[0], "X-User: ann") == 429
            assert await status(two.urls[0], "X-User: bob") == 101
            await asyncio.sleep(0.1)  # until it is stored
            # Who moves leaves its place to itself.
            async with Peer.connect(two.urls[0] + peer.resume(0), "X-User: ann") as again:
                assert again.session["data"]["resumed"] is True
                assert await status(one.urls[0], "X-User: ann") == 429

    share(story, Steps(), max_connections_per_user=1, handshake_rate=0)


def test_a_server_that_died_holds_no_places() -> None:
    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]):
            assert await status(two.urls[0]) == 429
            instances.kill(one)
            await asyncio.sleep(LEASE + 1)
            assert await status(two.urls[0]) == 101

    share(story, Steps(), max_connections_per_ip=1, handshake_rate=0)


def test_without_the_store_each_server_counts_its_own() -> None:
    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]):
            instances.ways[two].closed = True
            async with Peer.connect(two.urls[0]):
                assert await status(two.urls[0]) == 429
            await two.sockets.emptied()
            instances.ways[two].closed = False
            assert await status(two.urls[0]) == 429

    share(story, Steps(), max_connections_per_ip=1, handshake_rate=0)
