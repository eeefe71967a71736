"""The reader of a session that is in another process, at the writer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import Instances, share
from tests.net.sharing.journals import Desk, made, written
from tests.peer import Peer, text_of
from wsserver.net.sharing.afar import Afar
from wsserver.net.sharing.letters import Letter, batch_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Turn


def test_a_client_that_reads_slowly_elsewhere_slows_the_callback() -> None:
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


class Afoot:
    """A session that somebody elsewhere reads; `sent` are the letters to the process "there"."""

    def __init__(self, soft_limit: int = 2**16) -> None:
        self.session, self.journal = made(Desk())
        written(self.journal)
        self.sent: list[Letter] = []
        self.claim = Letter("claim", {"from": "there", "link": "l1"})
        self.afar = Afar(self.journal, self.claim, self._send, soft_limit)

    def _send(self, process: str, letter: Letter) -> None:
        assert (process, letter.fields["link"]) == ("there", "l1")
        self.sent.append(letter)

    def news(self) -> list[Letter]:
        """What has been sent since it was asked last."""
        sent, self.sent = self.sent, []
        return sent


def test_what_is_published_is_sent_once_it_is_stored() -> None:
    it = Afoot()
    it.afar.attach()
    [mirrored] = it.news()
    assert mirrored == Letter(
        "mirrored", {"link": "l1", "heard": 0, "head": 0, "start": 0, "begins": (0,), "active": None}
    )
    it.session.publish("note", {"n": 1})
    it.session.publish("note", {"n": 2})
    assert it.news() == [] and it.journal.urgent
    written(it.journal)
    [letter] = it.news()
    assert (letter.kind, letter.fields["before"], batch_of(letter).last) == ("events", 0, 2)
    written(it.journal)
    assert it.news() == [], "there was nothing new in that write"
    it.afar.beat()
    assert it.news() == [Letter("head", {"link": "l1", "heard": 0, "seq": 2, "told": 0})]


def test_what_is_not_logged_is_counted_and_goes_behind_what_was_logged_before() -> None:
    it = Afoot()
    it.afar.attach()
    it.news()
    it.session.publish("note", {})
    it.session.tell("pong", {})
    it.session.tell("pong", {})
    assert [(letter.kind, letter.fields["n"], letter.fields["after"]) for letter in it.news()] == [
        ("tell", 1, 1),
        ("tell", 2, 1),
    ]
    it.afar.beat()
    assert it.news()[0].fields["told"] == 2


def test_what_was_read_there_moves_the_reader_here_and_never_back() -> None:
    it = Afoot(soft_limit=1000)
    it.afar.attach()
    for _ in range(20):
        it.session.publish("note", {"text": "x" * 100})
    assert it.afar.full
    for seq, read in ((15, 15), (12, 15), (21, 15), (20, 20)):
        it.afar.read(seq)
        assert it.session.read == read
    assert not it.afar.full


def test_what_the_client_says_is_heard_once_and_a_gap_is_noticed() -> None:
    it = Afoot()
    assert [it.afar.hear(n) for n in (1, 2, 1, 2, 3)] == [True, True, False, False, True]
    with pytest.raises(LookupError, match="1 letters of a client are lost"):
        it.afar.hear(5)
    assert it.afar.hear(4)
    it.afar.beat()
    assert it.news()[0].fields["heard"] == 4


def test_a_close_comes_behind_all_that_was_published_stored_or_not() -> None:
    it = Afoot()
    it.afar.attach()
    it.session.publish("note", {})
    written(it.journal)
    it.session.publish("note", {})
    it.news()
    it.afar.close(1012, "going away")
    events, closed = it.news()
    assert (events.fields["before"], batch_of(events).last) == (1, 2)
    assert closed == Letter("closed", {"link": "l1", "heard": 0, "after": 2, "code": 1012, "reason": "going away"})
    assert it.session.reader is None and it.journal.watcher is None


def test_a_close_at_once_waits_for_nothing() -> None:
    it = Afoot()
    it.afar.attach()
    it.session.publish("note", {})
    it.news()
    it.afar.close_now(4502, "taken over")
    [closed] = it.news()
    assert (closed.kind, closed.fields["after"]) == ("closed", 0)
    written(it.journal)
    assert it.news() == [], "nobody reads it there any more"


def test_a_session_that_is_free_is_handed_over() -> None:
    it = Afoot()
    it.afar.attach()
    it.news()
    it.afar.hand_over()
    assert it.news() == [Letter("yours", {"link": "l1", "heard": 0})]
    assert it.session.reader is None


def test_who_takes_over_is_not_detached_by_the_older_one() -> None:
    it = Afoot()
    it.afar.attach()
    newer = Afar(it.journal, it.claim, it._send, 2**16)
    newer.attach()
    it.afar.detach()
    assert it.session.reader is newer and it.journal.watcher is not None
