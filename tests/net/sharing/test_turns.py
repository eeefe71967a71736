"""Messages and turns of sessions that are shared: nothing is told, and nothing begins, that is not stored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import Instances, share, stored
from tests.net.steps import Steps, begun
from tests.peer import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Turn


@pytest.mark.parametrize("durability", ["fast", "strict"])
def test_an_ack_waits_for_the_store_and_so_does_the_turn(durability: str) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await stored(server)
            instances.pause(server)
            await peer.ask("go", id="m1")
            await peer.ask("go", id="m1")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await peer.event()
            instances.go_on(server)
            assert (await peer.event("ack"))["data"] == {"ref": "m1", "turn": 1, "queued": 0, "duplicate": False}
            assert {(await peer.event())["event"], (await peer.event())["event"]} == {"start", "ack"}
            accepted = [write for write in instances.ways[server].writes if write.accepted]
            assert [sorted(write.accepted) for write in accepted] == [[1]]

    share(story, steps, durability=durability)


def test_strict_shows_nothing_and_takes_nothing() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await begun(peer, steps, 1)
            instances.ways[server].closed = True
            steps.let(2)
            await peer.ask("more", id="m2")
            await peer.send({"event": "history"})
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await peer.event()
            instances.ways[server].closed = False
            events = [await peer.event() for _ in range(5)]
            assert {event["event"] for event in events} == {"token", "complete", "ack", "start"}

    # A store that is back is noticed some seconds later, by chance; this client answers no pings.
    share(story, steps, durability="strict", ping_interval=0)


def test_what_waits_to_be_shown_is_bounded() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await begun(peer, steps, 1)
            instances.ways[server].closed = True
            steps.let(1)
            await asyncio.sleep(1)
            for number in range(10):
                await peer.send({"event": "history", "id": f"h{number}"})
            answers = [await peer.event() for _ in range(10)]
            assert [event["event"] for event in answers] == ["ack"] * 4 + ["error"] * 6
            assert {event["data"]["code"] for event in answers[4:]} == {"rate_limited"}
            instances.ways[server].closed = False
            assert [(await peer.event())["event"] for _ in range(5)] == ["token", *["history"] * 4]

    share(story, steps, durability="strict")


def test_a_turn_has_the_trace_of_the_handshake_before_it() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def tell(turn: Turn) -> AsyncIterator[str]:
        yield f"{turn.traceparent}"

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0], f"traceparent: {parent}") as peer:
            await peer.ask("hello", id="m1")
            assert [event["data"].get("value") for event in await peer.turn()][2] == parent

    share(story, tell)
