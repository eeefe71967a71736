"""What becomes of sessions while the store is out of reach, or holds its server for dead."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, share
from tests.net.steps import Steps, begun
from tests.peer import Peer, Refused, request, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Server, Turn
    from wsserver.net.sharing.copier import Copier


def copier_of(server: Server) -> Copier:
    assert server.cluster is not None
    return server.cluster.sessions.copier


async def out_of_reach(server: Server) -> None:
    """The store has not answered for long enough."""
    await asyncio.sleep(LEASE)
    assert copier_of(server).out


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


class TestOutOfReach:
    def test_running_answers_go_on_and_new_ones_begin(self, caplog: pytest.LogCaptureFixture) -> None:
        steps = Steps()

        async def story(instances: Instances) -> None:
            server = await instances.start()
            async with Peer.connect(server.urls[0]) as peer:
                events = await begun(peer, steps, 1)
                instances.ways[server].closed = True
                steps.let(2)
                events += await peer.turn()
                assert text_of(events) == "one two three"
                await out_of_reach(server)
                async with Peer.connect(server.urls[0]) as other:
                    assert other.session["data"]["resumable"] is False
                await peer.ask("more", id="m2")
                await peer.event("ack")
                steps.let(3)
                assert text_of(await peer.turn()) == "one two three"
                instances.ways[server].closed = False
                await asyncio.sleep(20)
                assert not copier_of(server).out
                [journal] = [one for one in copier_of(server).journals if one.log.head]
                assert journal.log.durable == journal.log.head == 10
            async with Peer.connect(server.urls[0]) as other:
                assert other.session["data"]["resumable"] is True

        with caplog.at_level(logging.WARNING, "wsserver.net.sharing.copier"):
            share(story, steps)
        said = [record.message for record in caplog.records]
        assert len([line for line in said if "out of reach" in line]) == 1
        assert len([line for line in said if "in reach again" in line]) == 1

    def test_strict_shows_nothing_and_takes_nothing(self) -> None:
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

        share(story, steps, durability="strict")

    def test_a_log_that_has_forgotten_what_was_not_copied_begins_anew(self) -> None:
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

    def test_who_comes_for_a_session_that_cannot_be_looked_up_comes_again(self) -> None:
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


class TestTheFence:
    def test_a_writer_that_stood_still_gives_up_what_another_one_has(self) -> None:
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

    def test_a_client_that_has_been_elsewhere_is_not_taken_back(self) -> None:
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
                await stored(instances, two)
            # It can say nothing of it, and later knows better than what it has.
            with pytest.raises(Refused):
                async with Peer.connect(one.urls[0] + peer.resume(3, epoch=2)):
                    raise AssertionError("it lets somebody in")
            way.closed = False
            async with Peer.connect(one.urls[0] + peer.resume(3, epoch=2)) as back:
                assert back.session["data"]["recovered"] is True
                assert back.session["data"]["epoch"] == 2

        share(story, steps)


async def stored(instances: Instances, server: Server) -> None:
    await asyncio.sleep(0.5)
    await copier_of(server).settled()


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
