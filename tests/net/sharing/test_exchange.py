"""Sessions that are read elsewhere than they are written: what two processes write to each other, and what is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.net.instances import LEASE, Instances, lose, mirrored, share, stored
from tests.net.steps import Steps, begun
from tests.peer import Peer, text_of
from wsserver.net.sharing.letters import Letter, Post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from wsserver import Server

    Write = Callable[..., Coroutine[Any, Any, list[tuple[str, object]]]]


@pytest.mark.parametrize("durability", ["fast", "strict"])
def test_a_busy_one_is_shown_where_its_client_is_and_moves_once_it_is_idle(durability: str) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            events = await begun(peer, steps, 1)
            await stored(one)
            async with Peer.connect(two.urls[0] + peer.resume(1)) as again:
                assert (await peer.closed())[0] == 4502
                assert again.session["data"]["active_turn"] == 1
                assert again.session["data"]["recovered"] is True
                assert await again.event() == events[1]
                assert (await again.event("replayed"))["data"] == {"count": 1, "seq": 2}
                steps.let(1)
                events.append(await again.event("token"))
                # All that a client may say goes there and comes back.
                await again.send({"event": "ping", "data": {"n": 1}})
                assert (await again.event("pong"))["data"] == {"n": 1}
                await again.send({"event": "history", "id": "h1"})
                assert (await again.event("ack"))["data"] == {"ref": "h1"}
                assert (await again.event("history"))["data"]["active"] == {"turn": 1, "text": "one two "}
                await again.send({"event": "answer", "data": {"call_id": "none", "value": 1}})
                assert (await again.event("error"))["data"]["code"] == "not_active"
                await again.ask("more", id="m2")
                assert (await again.event("ack"))["data"]["queued"] == 1
                steps.let(1)
                events += await again.turn()
                assert text_of(events) == "one two three"
                await again.event("start")
                await again.send({"event": "stop", "id": "s1"})
                end = [await again.event(), await again.event()]
                assert {event["event"] for event in end} == {"complete", "ack"}
                await asyncio.sleep(1)
                assert (len(one.sessions), len(two.sessions)) == (0, 1)
                assert two.cluster is not None
                assert len(two.cluster.sessions.journals) == 1
                steps.let(3)
                await again.ask("here")
                events = await again.turn()
                assert (events[0]["turn"], events[-1]["seq"]) == (3, 12)
                assert text_of(events) == "one two three"

    share(story, steps, durability=durability)


def test_events_that_are_lost_on_the_way_are_read_from_the_store() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        async with mirrored(instances, steps) as (one, _, again):
            lost = lose(instances, one, lambda letter: letter.kind == "events")
            steps.let(2)
            events = await again.turn()
            assert text_of(events) == "two three"
            assert [event["seq"] for event in events] == [3, 4, 5]
            assert lost

    share(story, steps)


def test_a_client_whose_writer_dies_is_sent_to_take_its_session_over() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        async with mirrored(instances, steps) as (one, two, again):
            instances.kill(one)
            assert (await again.closed())[0] == 1012
        async with Peer.connect(two.urls[0] + again.resume(2)) as back:
            assert (back.session["data"]["recovered"], back.session["data"]["epoch"]) == (True, 2)
            assert (await back.event("error"))["data"]["code"] == "turn_lost"

    share(story, steps)


def test_a_session_whose_reader_dies_waits_for_its_client() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        async with mirrored(instances, steps) as (one, two, again):
            instances.kill(two)
            await asyncio.sleep(2 * LEASE)
            [session] = one.sessions
            assert one.sessions.connection_of(session) is None
            assert session.reader is None
        async with Peer.connect(one.urls[0] + again.resume(2)) as back:
            await back.event("replayed")
            steps.let(2)
            assert text_of(await back.turn()) == "two three"

    share(story, steps)


def test_a_client_that_leaves_is_absent_where_its_session_is_written() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        async with mirrored(instances, steps) as (one, _, _):
            pass
        await asyncio.sleep(1)
        [session] = one.sessions
        assert session.reader is None
        await asyncio.sleep(130)
        assert len(one.sessions) == 0
        await steps.ended.wait()
        assert steps.cause == "disconnected"

    share(story, steps, resume_ttl=100)


def test_an_end_is_seen_where_the_client_is() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        async with mirrored(instances, steps) as (one, two, again):
            await again.send({"event": "end", "id": "e1"})
            events = [await again.event(), await again.event()]
            assert {event["event"] for event in events} == {"ack", "complete"}
            assert (await again.closed())[0] == 1000
        await two.sockets.emptied()
        await asyncio.sleep(1)
        assert (len(one.sessions), len(two.sessions)) == (0, 0)

    share(story, steps)


@asynccontextmanager
async def correspondent(instances: Instances, server: Server) -> AsyncIterator[Write]:
    """In place of another process: sends the letters that the test says, and tells what is answered."""
    way = instances.ways[server].beside()
    await way.open()
    came: list[Letter] = []
    post = Post(way, server.loop, came.append)

    async def write(kind: str, body: bytes = b"", **fields: object) -> list[tuple[str, object]]:
        """Kinds and links of the letters that have come back soon after, but for signs of life."""
        post.send(instances.ways[server].process, Letter(kind, {"from": way.process, **fields}, body))
        await asyncio.sleep(0.5)
        letters, came[:] = list(came), []
        return [(letter.kind, letter.fields.get("link")) for letter in letters if letter.kind != "head"]

    yield write
    await post.stop()
    await way.close()


@pytest.mark.parametrize(
    ("kind", "fields", "answers"),
    [
        # Who says or reads what is not read from here has to come back.
        ("say", {"n": 1}, [("closed", "l1")]),
        ("read", {"seq": 1, "said": 1}, [("closed", "l1")]),
        # Who sends what nobody reads here is to stop.
        ("events", {"before": 0, "last": 1, "pieces": []}, [("left", "l1")]),
        ("tell", {"n": 1, "after": 0}, [("left", "l1")]),
        ("head", {"seq": 1, "told": 0}, [("left", "l1")]),
        ("mirrored", {"head": 0, "start": 0, "begins": [0], "active": None}, [("left", "l1")]),
        ("closed", {"after": 0, "code": 1012, "reason": ""}, []),
        ("yours", {}, []),
        ("free", {}, []),
        ("unknown", {}, []),
        ("left", {}, []),
        ("claim", {"session": "s_1"}, [("unknown", "l1")]),
    ],
)
def test_letters_of_what_is_not_known_here(
    kind: str, fields: dict[str, object], answers: list[tuple[str, object]], caplog: pytest.LogCaptureFixture
) -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with correspondent(instances, server) as write:
            assert await write(kind, link="l1", **fields) == answers
        assert server.cluster is not None and server.cluster.letters_at_rest

    share(story, Steps())
    assert caplog.messages == []


def test_all_who_wait_for_a_session_hear_when_it_is_free() -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer, correspondent(instances, server) as write:
            await stored(server)
            instances.ways[server].flush_time = 1.0
            name = peer.session["session_id"]
            assert await write("claim", link="l1", session=name) == []
            assert (await peer.closed())[0] == 4502
            assert await write("claim", link="l2", session=name) == []
            await asyncio.sleep(1.0)
            assert await write("claim", link="l3", session=name) == [("free", "l1"), ("free", "l2"), ("unknown", "l3")]
            record = await instances.ways[server].find(name)
            assert record is not None and record.writer == ""
        assert server.cluster is not None and server.cluster.letters_at_rest

    share(story, Steps())


@pytest.mark.parametrize(("kind", "fields"), [("say", {"n": 3}), ("read", {"seq": 2, "said": 2})])
def test_a_reader_of_whom_something_was_lost_has_to_come_back(kind: str, fields: dict[str, object]) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer, correspondent(instances, server) as write:
            await begun(peer, steps, 1)
            await stored(server)
            assert await write("claim", link="l1", session=peer.session["session_id"]) == [("mirrored", "l1")]
            assert await write("say", b'{"event":"ping","data":{}}', link="l1", n=1) == [("tell", "l1")]
            assert await write("read", link="l1", seq=2, said=1) == []
            [session] = server.sessions
            assert session.read == 2
            assert await write(kind, link="l1", **fields) == [("closed", "l1")]
            assert session.reader is None
            assert server.cluster is not None and server.cluster.letters_at_rest

    share(story, steps)
