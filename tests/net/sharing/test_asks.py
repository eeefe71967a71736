"""What programs have done to sessions, once each, however often they have to ask."""

from __future__ import annotations

import asyncio

import pytest

from tests.net.instances import LEASE, Instances, lose, share
from tests.net.steps import Steps
from tests.peer import Peer


@pytest.mark.parametrize("kind", ["ask", "answer"])
def test_a_lost_letter_is_sent_again_and_a_push_is_shown_once(kind: str) -> None:
    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        lost = lose(instances, two if kind == "ask" else one, lambda letter: letter.kind == kind and not lost)
        async with Peer.connect(one.urls[0]) as peer:
            await asyncio.sleep(0.5)
            for number in range(2):
                await two.push(peer.session["session_id"], "note", {"n": number})
            events = [await peer.event("note"), await peer.event("note")]
            assert [(event["seq"], event["data"]["n"]) for event in events] == [(1, 0), (2, 1)]

    share(story, Steps())


def test_what_is_left_for_a_session_is_shown_once_by_who_takes_it() -> None:
    async def story(instances: Instances) -> None:
        one, two, three = [await instances.start() for _ in range(3)]
        async with Peer.connect(one.urls[0]) as peer:
            await asyncio.sleep(0.5)
        instances.kill(one)
        await asyncio.sleep(LEASE + 1)
        for number in range(3):
            await two.push(peer.session["session_id"], "note", {"n": number})
        for server in (two, three):
            async with Peer.connect(server.urls[0] + peer.resume(0)) as again:
                notes = [await again.event("note") for _ in range(3)]
                assert [note["data"]["n"] for note in notes] == [0, 1, 2]
                await again.event("replayed")
                await asyncio.sleep(0.5)

    share(story, Steps())
