"""Servers that share their sessions, as their clients and their programs see them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.net.instances import LEASE, Instances, share, stored
from tests.net.steps import Steps, begun, seqs
from tests.peer import Peer, text_of
from wsserver import ClientError, SessionNotFound


@pytest.mark.parametrize("durability", ["fast", "strict"])
def test_it_is_as_ever(durability: str) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            assert peer.session["data"]["resumable"] is True
            events = await begun(peer, steps, 1)
            steps.let(2)
            events += await peer.turn()
            assert seqs(events) == [1, 2, 3, 4, 5]
            assert text_of(events) == "one two three"
            await peer.send({"event": "end"})
            assert (await peer.closed())[0] == 1000
        await stored(server)

    share(story, steps, durability=durability)


@pytest.mark.parametrize("place", ["here", "elsewhere", "mirrored", "nowhere"])
def test_do_they_do_from_anywhere(place: str) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        one, two, three = [await instances.start() for _ in range(3)]
        async with Peer.connect(one.urls[0]) as peer:
            name = peer.session["session_id"]
            await begun(peer, steps, 1)
            await stored(one)
            reader, asker = peer, {"here": one, "elsewhere": two}.get(place, three)
            async with AsyncExitStack() as stack:
                if place == "mirrored":
                    reader = await stack.enter_async_context(Peer.connect(two.urls[0] + peer.resume(2)))
                    await reader.event("replayed")
                if place == "nowhere":
                    instances.kill(one)
                    await asyncio.sleep(LEASE + 1)
                    await asker.push(name, "note", {"n": 1})
                    reader = await stack.enter_async_context(Peer.connect(two.urls[0] + peer.resume(2)))
                    assert (await reader.event("error"))["data"]["code"] == "turn_lost"
                    assert (await reader.event("note"))["data"] == {"n": 1}
                    await reader.event("replayed")
                else:
                    await asker.push(name, "note", {"n": 1})
                    assert (await reader.event("note"))["data"] == {"n": 1}
                    await asker.stop(name, 1)
                    assert (await reader.event("complete"))["data"]["status"] == "stopped"
                with pytest.raises(ClientError):
                    await asker.stop(name)
                await asker.end(name, "enough")
                assert await reader.closed() == (4506, "enough")
            for call in (asker.push(name, "note"), asker.stop(name), asker.end(name)):
                with pytest.raises(SessionNotFound):
                    await call

    share(story, steps)
