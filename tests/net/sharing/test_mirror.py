"""Sessions that are read in another process than they are written in: what is lost on the way, and what is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import Instances, lose, mirrored, share
from tests.net.steps import Steps, begun
from tests.peer import TEXT, Peer, masked
from wsserver import Status
from wsserver.chat.copied import CopiedLog
from wsserver.net.connection import Connection
from wsserver.net.sharing.letters import Letter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Turn


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


def test_a_client_that_asks_for_the_history_and_does_not_read_it_fills_nobodys_memory() -> None:
    steps = Steps()
    history = masked(TEXT, b'{"event":"history","id":"h"}')

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            for _ in range(8):
                steps.let(3)
                await peer.ask("x" * 60_000)
                await peer.turn()
            await begun(peer, steps, 1)
            await asyncio.sleep(0.5)
        sent = list[Letter]()

        def see(letter: Letter) -> bool:
            if letter.kind == "tell":
                sent.append(letter)
            return False

        lose(instances, one, see)
        async with Peer.connect(two.urls[0] + peer.resume(42)) as again:
            await again.event("replayed")
            # All at once: the first is on its way when the others come.
            await again.write(history * 20)
            events = [await again.event() for _ in range(21)]
            assert [event["data"]["code"] for event in events if event["event"] == "error"] == ["rate_limited"] * 19
            assert [event["event"] for event in events if event["event"] != "error"] == ["ack", "history"]
            # One after the other, each is answered.
            await again.write(history)
            assert [(await again.event())["event"] for _ in range(2)] == ["ack", "history"]
            sent.clear()
            again.reader._transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(60):
                again.writer.write(history)
                await asyncio.sleep(1)
            # What the kernel holds, and one or two more.
            assert sum(len(letter.body) for letter in sent) < 16 * 2**20
            (connection,) = (member for member in two.sockets if isinstance(member, Connection))
            assert connection.pump.unsent < 3 * 2**20

    share(story, steps, write_timeout=0, ping_interval=0)


def test_a_slow_reader_of_a_session_that_is_written_elsewhere_goes_without_what_passes() -> None:
    async def busy(turn: Turn) -> AsyncIterator[Status]:
        while True:
            yield Status("x" * 60_000)
            await asyncio.sleep(0.1)

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await peer.ask("go")
            await peer.event("start")
            await asyncio.sleep(0.5)
        async with Peer.connect(two.urls[0] + peer.resume(1)) as again:
            again.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(20)
            (connection,) = (member for member in two.sockets if isinstance(member, Connection))
            assert connection.pump.paused
            assert connection.protocol.queued < 2**18

    share(story, busy, write_timeout=0, ping_interval=0)


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
