"""Sessions that several servers share: where each of them is written, and how it gets to its client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, share, stored
from tests.net.steps import Steps, begun, seqs
from tests.peer import Peer, Refused, request, status, text_of

if TYPE_CHECKING:
    from wsserver import Server


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
                await stored(one)
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
                await stored(one)
                instances.ways[one].closed = True
                steps.let(2)
                events += await peer.turn()
                assert seqs(events) == [1, 2, 3, 4, 5]
                instances.kill(one)
            async with Peer.connect(two.urls[0] + peer.resume(5)) as again:
                data = again.session["data"]
                assert (data["resumed"], data["recovered"], data["epoch"], data["seq"]) == (True, False, 2, 3)

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
                await stored(one)
                async with Peer.connect(two.urls[0] + peer.resume(0)) as again:
                    assert again.session["data"]["recovered"] is True
                    assert (await peer.closed())[0] == 4502

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
                await stored(one)
            await one.sockets.emptied()
            late = await self.late(instances, one, peer)
            async with Peer.connect(two.urls[0] + peer.resume(0)) as elsewhere:
                await stored(two)
                instances.ways[one].seats_open.set()
                assert await late == 503
                await elsewhere.event("replayed")
                await elsewhere.ask("hello")
                assert (await elsewhere.event("start"))["turn"] == 1
                await stored(two)
                assert (len(one.sessions), len(two.sessions)) == (0, 1)

        share(story, Steps())

    def test_gets_no_session_that_has_ended_meanwhile(self) -> None:
        async def story(instances: Instances) -> None:
            one = await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                await stored(one)
            await one.sockets.emptied()
            late = await self.late(instances, one, peer)
            await one.end(peer.session["session_id"])
            await stored(one)
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
                await stored(one)
            late = await self.late(instances, two, peer)
            steps.let(2)
            await steps.ended.wait()
            await stored(one)
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
            await stored(one)
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
            await stored(server)
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


def test_who_comes_for_a_session_that_cannot_be_looked_up_comes_again() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await begun(peer, steps, 1)
            await asyncio.sleep(0.5)
        instances.ways[two].closed = True
        offer = "Sec-WebSocket-Protocol: wsserver.v1"
        async with Peer.socket(two.urls[0]) as raw:
            await raw.write(request("/ws/chat" + peer.resume(1), offer))
            await raw.read_head()
            assert (await raw.closed())[0] == 1013
        # Here it still is.
        instances.ways[one].closed = True
        async with Peer.connect(one.urls[0] + peer.resume(1)) as again:
            assert again.session["data"]["recovered"] is True

    share(story, steps)


def test_a_client_that_has_been_elsewhere_is_not_taken_back() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await begun(peer, steps, 1)
            await asyncio.sleep(0.5)
        way = instances.ways[one]
        way.closed = True
        await asyncio.sleep(2 * LEASE)
        async with Peer.connect(two.urls[0] + peer.resume(2)) as again:
            assert again.session["data"]["epoch"] == 2
            await stored(two)
        # It can say nothing of it, and later knows better than what it has.
        with pytest.raises(Refused):
            async with Peer.connect(one.urls[0] + peer.resume(3, epoch=2)):
                raise AssertionError("it lets somebody in")
        way.closed = False
        async with Peer.connect(one.urls[0] + peer.resume(3, epoch=2)) as back:
            assert back.session["data"]["recovered"] is True
            assert back.session["data"]["epoch"] == 2

    share(story, steps)


def test_who_looks_for_the_same_session_does_so_one_after_the_other_and_leaves_no_lock() -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        assert server.cluster is not None
        directory = server.cluster.sessions
        order: list[str] = []

        async def look(name: str, session_id: str) -> None:
            async with directory.alone(session_id):
                order.append(name)
                await asyncio.sleep(1)
                order.append(name)

        await asyncio.gather(look("a", "s_1"), look("b", "s_1"), look("c", "s_1"), look("x", "s_2"))
        assert order == ["a", "x", "a", "x", "b", "b", "c", "c"]
        assert len(directory._locks) == 0

    share(story, Steps())
