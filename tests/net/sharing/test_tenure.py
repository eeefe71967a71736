"""What a server owes to the sessions that it writes: how they go, and that what was lost is given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, copier_of, out_of_reach, share
from tests.net.steps import Steps, begun
from tests.peer import Peer, text_of

if TYPE_CHECKING:
    from wsserver import SessionView


@pytest.mark.parametrize("durability", ["fast", "strict"])
def test_a_session_that_is_ended_ends_with_all_that_was_shown_in_it(durability: str) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await begun(peer, steps, 1)
            await peer.send({"event": "end"})
            assert (await peer.event("complete"))["data"]["status"] == "stopped"
            assert (await peer.closed())[0] == 1000

    share(story, steps, durability=durability)


@pytest.mark.parametrize("durability", ["fast", "strict"])
def test_from_a_server_that_drains(durability: str) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            events = await begun(peer, steps, 1)
            draining = asyncio.create_task(one.drain())
            await peer.event("drain")
            instances.ways[one].flush_time = 0.2
            steps.let(2)
            events += await peer.turn()
            assert (await peer.closed())[0] == 1012
        began = two.loop.time()
        async with Peer.connect(two.urls[0] + peer.resume(3)) as again:
            assert two.loop.time() - began < 2
            data = again.session["data"]
            assert (data["resumed"], data["recovered"], data["epoch"]) == (True, True, 1)
            assert [await again.event(), await again.event()] == events[3:5]
        await draining

    share(story, steps, durability=durability)


def test_after_the_server_has_ended() -> None:
    steps = Steps()
    closed: list[str] = []

    async def on_close(session: SessionView) -> None:
        closed.append(session.id)

    async def story(instances: Instances) -> None:
        one, two = await instances.start(on_close=on_close), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await begun(peer, steps, 1)
            await one.close()
            assert (await peer.turn())[-1]["data"]["code"] == "server_shutdown"
            assert (await peer.closed())[0] == 1012
        # It has not ended: it goes on elsewhere.
        assert closed == []
        async with Peer.connect(two.urls[0] + peer.resume(2)) as again:
            data = again.session["data"]
            assert (data["resumed"], data["recovered"], data["epoch"]) == (True, True, 1)
            assert (await again.event("error"))["data"]["code"] == "server_shutdown"

    share(story, steps)


def test_a_writer_that_stood_still_gives_up_what_another_one_has() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await begun(peer, steps, 1)
            await asyncio.sleep(0.5)
            instances.pause(one)
            await asyncio.sleep(LEASE)
            async with Peer.connect(two.urls[0] + peer.resume(2)) as again:
                assert again.session["data"]["epoch"] == 2
                assert (await again.event("error"))["data"]["code"] == "turn_lost"
                instances.go_on(one)
                assert (await peer.closed())[0] == 1012
                await steps.ended.wait()
                assert steps.cause == "shutdown"
                assert len(one.sessions) == 0
                await again.event("replayed")
                steps.let(3)
                await again.ask("more")
                assert text_of(await again.turn()) == "one two three"

    share(story, steps)


def test_sessions_that_come_and_go_while_nobody_is_told_leave_nothing() -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        instances.ways[server].closed = True
        async with Peer.connect(server.urls[0]):
            await out_of_reach(server)
            for _ in range(20):
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.send({"event": "end"})
                    assert (await peer.closed())[0] == 1000
            assert len(copier_of(server).journals) == 1
        instances.ways[server].closed = False

    share(story, Steps(), handshake_rate=0)
