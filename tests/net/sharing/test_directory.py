"""Sessions that several servers share: where each of them is written, and how it gets to its client."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, share
from tests.net.steps import Steps, begun, seqs
from tests.peer import Peer, status, text_of
from wsserver import ClientError, SessionNotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Server, SessionView, Turn


async def stored(instances: Instances, server: Server) -> None:
    """Returns once all is stored."""
    assert server.cluster is not None
    await asyncio.sleep(0.5)
    await server.cluster.sessions.copier.settled()


@pytest.mark.parametrize("durability", ["fast", "strict"])
class TestOneServer:
    def test_it_is_as_ever(self, durability: str) -> None:
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
            await stored(instances, server)

        share(story, steps, durability=durability)

    def test_an_ack_waits_for_the_store_and_so_does_the_turn(self, durability: str) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            server = await instances.start()
            async with Peer.connect(server.urls[0]) as peer:
                await stored(instances, server)
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


class TestTakingOver:
    @pytest.mark.parametrize("durability", ["fast", "strict"])
    def test_from_a_server_that_was_killed(self, durability: str) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            one, two = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                events = await begun(peer, steps, 2)
                await peer.ask("later", id="m2")
                await peer.event("ack")
                await stored(instances, one)
                instances.kill(one)
            began = one.loop.time()
            async with Peer.connect(two.urls[0] + peer.resume(1)) as again:
                assert one.loop.time() - began < LEASE + 2
                data = again.session["data"]
                assert (data["resumed"], data["recovered"], data["epoch"]) == (True, True, 2)
                assert again.session["session_id"] == peer.session["session_id"]
                assert [await again.event(), await again.event()] == events[1:3]
                lost = [await again.event(), await again.event()]
                assert [(event["turn"], event["seq"], event["data"]["ref"]) for event in lost] == [
                    (1, 4, "m1"),
                    (2, 5, "m2"),
                ]
                assert {event["data"]["code"] for event in lost} == {"turn_lost"}
                assert (await again.event("replayed"))["data"] == {"count": 4, "seq": 5}
                await again.send({"event": "history"})
                items = (await again.event("history"))["data"]["items"]
                assert [(item["turn"], item["content"], item["status"]) for item in items] == [
                    (1, "go", "completed"),
                    (1, "one two ", "failed"),
                ]
                # Its ids are known, too.
                await again.ask("later", id="m2")
                assert (await again.event("ack"))["data"] == {"ref": "m2", "turn": 2, "duplicate": True}
                await again.ask("more", id="m3")
                assert (await again.event("ack"))["data"]["turn"] == 3
                steps.let(3)
                assert text_of(await again.turn()) == "one two three"

        share(story, steps, durability=durability)

    def test_what_was_shown_but_not_stored_is_told_to_be_lost(self) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            one, two = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                events = await begun(peer, steps, 1)
                await stored(instances, one)
                instances.ways[one].closed = True
                steps.let(2)
                events += await peer.turn()
                assert seqs(events) == [1, 2, 3, 4, 5]
                instances.kill(one)
            async with Peer.connect(two.urls[0] + peer.resume(5)) as again:
                data = again.session["data"]
                assert (data["resumed"], data["recovered"], data["epoch"], data["seq"]) == (True, False, 2, 3)

        share(story, steps)

    def test_from_a_server_that_drains(self) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            one, two = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                events = await begun(peer, steps, 1)
                draining = asyncio.create_task(one.drain())
                await peer.event("drain")
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

        share(story, steps)

    def test_after_the_server_has_ended(self) -> None:
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


class TestMoving:
    def test_an_idle_session_goes_where_its_client_is(self) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            servers = [await instances.start() for _ in range(3)]
            url = servers[0].urls[0]
            query = ""
            for turn in range(1, 7):
                server = servers[turn % 3]
                async with Peer.connect(server.urls[0] + query) as peer:
                    if turn == 1:
                        first = peer
                    else:
                        data = peer.session["data"]
                        assert (data["resumed"], data["recovered"], data["epoch"]) == (True, True, 1)
                        await peer.event("replayed")
                    await peer.ask(url)
                    steps.let(3)
                    events = await peer.turn()
                    assert text_of(events) == "one two three"
                    assert events[0]["turn"] == turn
                query = first.resume(5 * turn)
            assert [len(server.sessions) for server in servers] == [1, 0, 0]

        share(story, steps)

    def test_the_older_connection_is_told(self) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            one, two = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                await stored(instances, one)
                async with Peer.connect(two.urls[0] + peer.resume(0)) as again:
                    assert again.session["data"]["recovered"] is True
                    assert (await peer.closed())[0] == 4502

        share(story, steps)

    @pytest.mark.parametrize("durability", ["fast", "strict"])
    def test_a_busy_one_is_shown_where_its_client_is_and_moves_once_it_is_idle(self, durability: str) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            one, two = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                events = await begun(peer, steps, 1)
                await stored(instances, one)
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

    def test_a_client_that_reads_slowly_elsewhere_slows_the_callback(self) -> None:
        published = 0

        async def flood(turn: Turn) -> AsyncIterator[str]:
            nonlocal published
            await asyncio.sleep(1)
            for number in range(3000):
                published = number
                yield "x" * 1000

        async def story(instances: Instances) -> None:
            one, two = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                await peer.ask("go")
                await peer.event("start")
            await one.sockets.emptied()
            async with Peer.connect(two.urls[0] + peer.resume(1), "X: x") as again:
                again.reader._limit = 1000  # type: ignore[attr-defined]
                await again.event("replayed")
                await asyncio.sleep(20)
                assert 50 < published < 2999
                events = await again.turn()
                assert len(text_of(events)) == 3_000_000

        share(story, flood, write_timeout=0, ping_interval=0)


class TestWhatPrograms:
    @pytest.mark.parametrize("place", ["here", "elsewhere", "mirrored", "nowhere"])
    def test_do_they_do_from_anywhere(self, place: str) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            one, two, three = [await instances.start() for _ in range(3)]
            async with Peer.connect(one.urls[0]) as peer:
                name = peer.session["session_id"]
                await begun(peer, steps, 1)
                await stored(instances, one)
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


class TestWhoWaitsForAPlace:
    """Between finding a session and getting it, its client waits for the store to count its connection."""

    @staticmethod
    async def late(instances: Instances, server: Server, peer: Peer) -> asyncio.Task[int]:
        """A client that comes back to its session here, and waits for its place; the status that it gets."""
        way = instances.ways[server]
        way.seats_open.clear()
        way.seats_asked.clear()
        coming = asyncio.create_task(status(server.urls[0] + peer.resume(0)))
        await way.seats_asked.wait()
        return coming

    def test_gets_no_session_that_has_moved_meanwhile(self) -> None:
        async def story(instances: Instances) -> None:
            one, two = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                await stored(instances, one)
            await one.sockets.emptied()
            late = await self.late(instances, one, peer)
            async with Peer.connect(two.urls[0] + peer.resume(0)) as elsewhere:
                await stored(instances, two)
                instances.ways[one].seats_open.set()
                assert await late == 503
                await elsewhere.event("replayed")
                await elsewhere.ask("hello")
                assert (await elsewhere.event("start"))["turn"] == 1
                await stored(instances, two)
                assert (len(one.sessions), len(two.sessions)) == (0, 1)

        share(story, Steps())

    def test_gets_no_session_that_has_ended_meanwhile(self) -> None:
        async def story(instances: Instances) -> None:
            one = await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                await stored(instances, one)
            await one.sockets.emptied()
            late = await self.late(instances, one, peer)
            await one.end(peer.session["session_id"])
            await stored(instances, one)
            instances.ways[one].seats_open.set()
            assert await late == 503
            assert len(one.sessions) == 0

        share(story, Steps())

    def test_gets_nothing_where_what_was_shown_here_has_been_freed(self) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            one, two = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                await begun(peer, steps, 1)
                await stored(instances, one)
            late = await self.late(instances, two, peer)
            steps.let(2)
            await steps.ended.wait()
            await stored(instances, one)
            instances.ways[two].seats_open.set()
            assert await late == 503
            async with Peer.connect(two.urls[0] + peer.resume(0)) as again:
                assert again.session["data"]["recovered"] is True
                assert text_of(await again.turn()) == "one two three"

        share(story, steps)


def test_a_session_that_ends_while_the_store_is_slow_is_not_brought_back(caplog: pytest.LogCaptureFixture) -> None:
    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await stored(instances, one)
            instances.ways[one].flush_time = 3.0
            await one.end(peer.session["session_id"])
            await peer.closed()
        async with Peer.connect(two.urls[0] + peer.resume(0)) as again:
            assert again.session["data"]["resumed"] is False
            assert again.session["session_id"] != peer.session["session_id"]

    share(story, Steps())
    assert "is written by another process now" not in caplog.text


def test_a_session_that_ends_while_it_is_looked_up_is_not_resumed() -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await stored(instances, server)
        await server.sockets.emptied()
        instances.pause(server)
        # An epoch that was never told makes it look whether another process has the session.
        coming = asyncio.create_task(resumed(server.urls[0] + peer.resume(0, epoch=2)))
        await instances.ways[server].sought.wait()
        await server.end(peer.session["session_id"])
        instances.go_on(server)
        assert await coming is False

    async def resumed(url: str) -> object:
        async with Peer.connect(url) as peer:
            return peer.session["data"]["resumed"]

    share(story, Steps())
