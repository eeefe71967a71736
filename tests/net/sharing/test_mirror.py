"""Sessions that are read in another process than they are written in: what is lost on the way, and what is not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, share
from tests.net.steps import Steps, begun
from tests.peer import Peer, text_of
from wsserver.chat.copied import CopiedLog
from wsserver.net.sharing.letters import Letter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from wsserver import Server


@asynccontextmanager
async def mirrored(instances: Instances, steps: Steps) -> AsyncIterator[tuple[Server, Server, Peer]]:
    """The writer of a session in which an answer runs, the process of its client, and that client."""
    one, two = await instances.start(), await instances.start()
    async with Peer.connect(one.urls[0]) as peer:
        await begun(peer, steps, 1)
        await asyncio.sleep(0.5)
    async with Peer.connect(two.urls[0] + peer.resume(2)) as again:
        assert again.session["data"]["active_turn"] == 1
        await again.event("replayed")
        yield one, two, again


def lose(instances: Instances, server: Server, is_lost: Callable[[Letter], bool]) -> list[Letter]:
    """From now on such letters of a server get lost; those that did."""
    way, lost = instances.ways[server], list[Letter]()
    post = way.post

    async def filtered(letters: Iterable[tuple[str, bytes]]) -> None:
        kept = []
        for process, sealed in letters:
            letter = Letter.opened(sealed)
            if is_lost(letter):
                lost.append(letter)
            else:
                kept.append((process, sealed))
        await post(kept)

    way.post = filtered  # type: ignore[method-assign]
    return lost


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


@pytest.mark.parametrize("kind", ["say", "tell"])
def test_what_only_a_letter_holds_is_said_again(kind: str) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        async with mirrored(instances, steps) as (one, two, again):
            lost = lose(instances, two if kind == "say" else one, lambda letter: letter.kind == kind and not lost)
            await again.ask("more", id="m2")
            # Its client comes back, and says what it has heard no answer to.
            assert (await again.closed())[0] == 1012
            assert len(lost) == 1
        async with Peer.connect(two.urls[0] + again.resume(2)) as back:
            await back.event("replayed")
            await back.ask("more", id="m2")
            ack = await back.event("ack")
            assert (ack["data"]["turn"], ack["data"]["duplicate"]) == (2, kind == "tell")

    share(story, steps)


def test_what_is_said_while_the_session_moves_is_said_once() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        async with mirrored(instances, steps) as (one, two, again):
            steps.let(2)
            await again.turn()
            # Some of these meet the session on its way.
            for number in range(2, 12):
                await again.ask("more", id=f"m{number}")
                await asyncio.sleep(0)
            steps.let(30)
            acks: list[int] = []
            ends: list[int] = []
            while len(ends) < 10:
                event = await again.event()
                if event["event"] == "ack":
                    acks.append(event["data"]["turn"])
                elif event["event"] == "complete":
                    ends.append(event["turn"])
            assert acks == ends == list(range(2, 12))
            await asyncio.sleep(1)
            assert len(one.sessions) == 0

    share(story, steps, message_rate=0)


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


def test_what_the_client_has_seen_before_it_was_stored_counts() -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await asyncio.sleep(0.5)
            await begun(peer, steps, 2)
        [session] = one.sessions
        assert isinstance(session.log, CopiedLog)
        assert session.log.durable < session.log.head == 3
        async with Peer.connect(two.urls[0] + peer.resume(3)) as again:
            assert again.session["data"]["recovered"] is True
            await again.event("replayed")
            steps.let(1)
            assert [event["seq"] for event in await again.turn()] == [4, 5]

    share(story, steps)
