"""Programs that are no servers, and what they have done to sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, share
from tests.net.steps import Steps, begun, serve
from tests.peer import Peer
from wsserver import ClientError, ConfigError, Count, Remote, SessionNotFound, StoreError, push

if TYPE_CHECKING:
    from wsserver import Server


def beside(instances: Instances, server: Server) -> Remote:
    return Remote("", store=instances.ways[server].beside())


def test_push_stop_and_end() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer, beside(instances, server) as remote:
            name = peer.session["session_id"]
            await begun(peer, steps, 1)
            await asyncio.sleep(0.5)
            await remote.push(name, "note", {"n": 1})
            assert (await peer.event("note"))["data"] == {"n": 1}
            await remote.stop(name)
            assert (await peer.event("complete"))["data"]["status"] == "stopped"
            with pytest.raises(ClientError) as caught:
                await remote.stop(name)
            assert caught.value.code == "not_active"
            await remote.end(name, "that is all")
            assert await peer.closed() == (4506, "that is all")
            with pytest.raises(SessionNotFound):
                await remote.push(name, "note")

    share(story, steps)


def test_several_wait_at_once() -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer, beside(instances, server) as remote:
            await asyncio.sleep(0.5)
            name = peer.session["session_id"]
            await asyncio.gather(*(remote.push(name, "note", {"n": number}) for number in range(20)))
            assert {(await peer.event("note"))["data"]["n"] for _ in range(20)} == set(range(20))

    share(story, Steps())


def test_out_of_reach() -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        way = instances.ways[server].beside()
        async with Peer.connect(server.urls[0]) as peer, Remote("", store=way) as remote:
            await asyncio.sleep(0.5)
            name = peer.session["session_id"]
            await remote.push(name, "note")
            way.closed = True
            for call in (remote.push(name, "note"), remote.stop(name), remote.end(name), remote.count()):
                with pytest.raises(StoreError):
                    await call
            way.closed = False
            await remote.push(name, "note")

    share(story, Steps())


@pytest.mark.parametrize("event", ["token", ""])
def test_what_cannot_be_pushed_goes_nowhere(event: str) -> None:
    async def story(instances: Instances) -> None:
        async with beside(instances, await instances.start()) as remote:
            with pytest.raises(ValueError, match="name"):
                await remote.push("s_1", event)

    share(story, Steps())


@pytest.mark.parametrize("url", ["", "http://127.0.0.1"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError):
        Remote(url)
    with pytest.raises(ConfigError):
        asyncio.run(push(url, "s_1", "note"))


def test_count() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with (
            Peer.connect(one.urls[0]) as peer,
            Peer.connect(two.urls[0]) as other,
            Peer.connect(two.urls[0]),
            beside(instances, one) as remote,
        ):
            await begun(peer, steps, 1)
            await asyncio.sleep(LEASE)
            assert await one.count() == await two.count() == await remote.count() == Count(2, 3, 3, 1)
            # What one has is known to itself at once, and to the others soon.
            await two.end(other.session["session_id"])
            assert (await two.count()).sessions == 2
            # A session that is written by one and read by the other is one.
            async with Peer.connect(two.urls[0] + peer.resume(2)) as again:
                await again.event("replayed")
                await asyncio.sleep(LEASE)
                assert await one.count() == await remote.count() == Count(2, 2, 2, 1)
                instances.kill(one)
                await asyncio.sleep(LEASE + 1)
                assert (await remote.count()).instances == 1

    share(story, steps)


def test_a_server_that_shares_nothing_counts_itself() -> None:
    async def story(server: Server, steps: Steps) -> None:
        assert await server.count() == Count(1)
        async with Peer.connect(server.urls[0]) as peer:
            await begun(peer, steps, 1)
            assert await server.count() == Count(1, 1, 1, 1)

    serve(story)
