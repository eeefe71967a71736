"""Limits per address and per user hold over all servers that share a store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.net.instances import LEASE, Instances, share
from tests.net.steps import Steps
from tests.peer import Peer, request, status
from wsserver import Request, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Turn
    from wsserver.store.port import Copy


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


def test_a_connection_whose_place_was_given_to_one_that_never_came_does_not_stay() -> None:
    async def story(instances: Instances) -> None:
        one = await instances.start()
        async with Peer.connect(one.urls[0]) as peer, Peer.connect(one.urls[0]) as other:
            await asyncio.sleep(0.5)
            for client in (peer, other):
                instances.pause(one)
                async with Peer.socket(one.urls[0]) as coming:
                    # It has the place of the older one, and waits for one of all servers.
                    await coming.write(request("/ws/chat" + client.resume(0)))
                    await asyncio.sleep(0.5)
                instances.go_on(one)
                async with asyncio.timeout(5):
                    assert (await client.closed())[0] == 4502
        await one.sockets.emptied()
        assert one.seats.connections[None] == 0

    share(story, Steps(), max_connections_per_ip=2, handshake_rate=0)


def test_sessions_left_behind_in_another_server_count_for_their_address() -> None:
    async def endless(turn: Turn) -> AsyncIterator[str]:
        yield "one"
        await asyncio.Event().wait()

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        for _ in range(5):
            async with Peer.connect(one.urls[0]) as peer:
                await peer.ask("go")
                assert [(await peer.event())["event"] for _ in range(2)] == ["start", "token"]
                await asyncio.sleep(0.5)
                async with Peer.connect(two.urls[0] + peer.resume(2)) as again:
                    assert again.session["data"]["active_turn"] == 1
            await asyncio.sleep(0.5)
        assert one.sessions.absent == 2

    share(story, endless, max_connections_per_ip=2, handshake_rate=0)


def test_sessions_that_were_taken_for_a_client_that_has_gone_count_for_its_address() -> None:
    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        way, taken = instances.ways[two], asyncio.Event()
        take = way.take

        async def late(session_id: str, fence: int, *, lost: bool) -> Copy | None:
            copy = await take(session_id, fence, lost=lost)
            await taken.wait()
            return copy

        way.take = late  # type: ignore[method-assign]
        for _ in range(5):
            taken.clear()
            async with Peer.connect(one.urls[0]) as peer:
                await asyncio.sleep(0.5)
            await one.sockets.emptied()
            async with Peer.socket(two.urls[0]) as coming:
                await coming.write(request("/ws/chat" + peer.resume(0)))
                await asyncio.sleep(0.5)
            await asyncio.sleep(0.5)
            taken.set()
            await asyncio.sleep(0.5)
        assert two.sessions.absent == 2

    share(story, Steps(), max_connections_per_ip=2, handshake_rate=0)
