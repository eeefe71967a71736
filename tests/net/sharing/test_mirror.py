"""Sessions that are read in another process than they are written in: what is lost on the way, and what is not."""

from __future__ import annotations

import asyncio

import pytest

from tests.net.instances import Instances, lose, mirrored, share
from tests.net.steps import Steps, begun
from tests.peer import Peer
from wsserver.chat.copied import CopiedLog


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
