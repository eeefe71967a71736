"""What is written of a session, write by write, and what comes of each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, copier_of, out_of_reach, share
from tests.net.steps import Steps, begun
from tests.peer import Peer, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Turn


def test_tokens_gather_and_an_end_goes_with_what_it_ends() -> None:
    async def talk(turn: Turn) -> AsyncIterator[str]:
        for number in range(200):
            yield f"{number} "
            await asyncio.sleep(0.001)

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await peer.ask("go", id="m1")
            await peer.turn()
            await asyncio.sleep(0.5)
            writes = instances.ways[server].writes
            assert len(writes) < 40, "a round trip for many tokens"
            assert [sorted(write.accepted) for write in writes if write.accepted] == [[1]]
            [last] = [write for write in writes if write.finished]
            assert list(last.finished) == [1]
            assert last.batch is not None
            assert b'"complete"' in last.batch.pieces[-1].values[-1]
            assert last.batch.last == 202
            assert b'"assistant"' in last.history[-1]
            batches = [write.batch for write in writes if write.batch is not None]
            assert sum(len(piece.values) for batch in batches for piece in batch.pieces) == 202

    share(story, talk)


@pytest.mark.parametrize("durability", ["fast", "strict"])
def test_what_changed_while_a_write_was_in_doubt_is_written_too(durability: str) -> None:
    """The write in doubt is repeated as it was; nothing else is published that would mark the session again."""
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await begun(peer, steps, 1)
            await asyncio.sleep(0.5)
            way = instances.ways[server]
            way.flush_time, way.closed = 0.05, True
            steps.let(1)
            await asyncio.sleep(0.03)
            steps.let(1)
            await asyncio.sleep(0.2)
            way.closed = False
            assert text_of(await peer.turn())[-9:] == "two three"
            await asyncio.sleep(LEASE)
            [journal] = copier_of(server).journals
            assert journal.log.durable == journal.log.head == 5

    share(story, steps, durability=durability, ping_interval=0)


def test_a_log_that_has_forgotten_what_was_not_copied_begins_anew() -> None:
    async def flood(turn: Turn) -> AsyncIterator[str]:
        for _ in range(100):
            yield "x" * 1000

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await asyncio.sleep(0.5)
            instances.ways[one].closed = True
            await out_of_reach(one)
            for _ in range(3):
                await peer.ask("go")
                last = (await peer.turn())[-1]["seq"]
            instances.ways[one].closed = False
            await asyncio.sleep(20)
            assert any(write.anew for write in instances.ways[one].writes[2:])
        async with Peer.connect(two.urls[0] + peer.resume(last)) as again:
            assert again.session["data"]["recovered"] is True
        async with Peer.connect(two.urls[0] + peer.resume(1)) as again:
            assert again.session["data"]["recovered"] is False
            await again.send({"event": "history"})
            items = (await again.event("replayed"), await again.event("history"))[1]["data"]["items"]
            assert [len(item["content"]) for item in items] == [2, 100_000] * 3

    share(story, flood, max_log_size=50_000)
