"""Servers that share their sessions, as their clients and their programs see them."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, Way, mirrored, share, stored
from tests.net.steps import Steps, begun, seqs
from tests.peer import Peer, text_of
from wsserver import ClientError, Config, ConfigError, SessionNotFound
from wsserver.net.sharing.cluster import open_store, store_of
from wsserver.store.memory import Hub

if TYPE_CHECKING:
    from wsserver.store.port import Copy


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
def test_what_programs_do_is_done_from_anywhere(place: str) -> None:
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


def test_a_session_that_is_taken_while_its_server_ends_is_free_for_the_next() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        async with mirrored(instances, steps) as (one, two, again):
            way = instances.ways[two]
            take, asked, answered = way.take, asyncio.Event(), asyncio.Event()

            async def late(session_id: str, fence: int, *, lost: bool) -> Copy | None:
                copy = await take(session_id, fence, lost=lost)
                asked.set()
                await answered.wait()
                return copy

            way.take = late  # type: ignore[method-assign]
            steps.let(2)
            await again.turn()
            await asked.wait()
            closing = asyncio.create_task(two.close())
            assert (await again.closed())[0] == 1012
            again.reset()
            await two.sockets.emptied()
            await asyncio.sleep(0.1)
            answered.set()
            await closing
            record = await instances.ways[one].find(again.session["session_id"])
            assert record is not None
            assert (record.writer, record.begins) == ("", (0,))

    share(story, steps)


def test_a_server_ends_in_time_where_its_store_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await stored(server)
            instances.ways[server].closed = True
            await peer.ask("go", id="m1")
            began = server.loop.time()
            await server.close()
            assert server.loop.time() - began < 10

    with caplog.at_level(logging.WARNING, "wsserver.net.sharing.cluster"):
        share(story, Steps(), close_timeout=3)
    assert [message.partition(":")[0] for message in caplog.messages if "left" in message or "in time" in message] == [
        "the store did not take all in time",
        "the store was left without a word",
    ]


def test_without_the_extra_it_is_said_which_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_of(Config()) is None
    monkeypatch.setitem(sys.modules, "wsserver.store.redis", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'wsserver[redis]'")):
        store_of(Config(redis="redis://127.0.0.1"))


def test_a_store_that_cannot_be_opened_is_a_mistake_of_the_configuration() -> None:
    async def main() -> None:
        way = Way(Hub(asyncio.get_running_loop().time))
        way.closed = True
        with pytest.raises(ConfigError, match="out of reach"):
            await open_store(way)

    asyncio.run(main())
