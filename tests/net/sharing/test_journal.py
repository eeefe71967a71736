"""What is written of a session, write by write, and what comes of each of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.net.instances import LEASE, Instances, copier_of, out_of_reach, share
from tests.net.sharing.journals import Desk, begin, made, say, written
from tests.net.steps import Steps, begun
from tests.peer import Peer, text_of
from wsserver.chat.events import Message
from wsserver.store.port import Origin, Outcome, Write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Turn


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


def test_a_log_that_has_forgotten_what_was_not_copied_begins_anew() -> None:
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

    share(story, flood, max_log_size=50_000, ping_interval=0)


class TestWrites:
    def test_the_first_is_all_of_it_and_later_ones_are_what_has_changed(self) -> None:
        session, journal = made(Desk())
        write = written(journal)
        assert (write.fence, write.number, write.created) == (1, 1, Origin("ann", session.token_digest, (0,)))
        assert (write.before, write.batch, write.history_length) == (0, None, None)
        say(session, journal, "hello", "m1")
        write = written(journal)
        assert (write.number, write.created, list(write.accepted), write.last_turn) == (2, None, [1], 1)
        assert (write.facts, write.history) == ({"state": b"{}", "id1": b'["m1",1]'}, ())
        turn = begin(session)
        turn.publish("a")
        turn.publish("b")
        write = written(journal)
        assert write.batch is not None and (write.before, write.batch.last) == (0, 3)
        assert [(piece.turn, len(piece.values)) for piece in write.batch.pieces] == [(None, 1), (1, 2)]
        assert (write.accepted, list(write.finished), len(write.history)) == ({}, [], 1)
        turn.complete("completed")
        write = written(journal)
        assert (write.before, list(write.finished), len(write.history), write.history_length) == (3, [1], 1, 2)
        write = written(journal)
        assert (write.number, write.batch, list(write.finished), write.history) == (5, None, [], ())

    def test_a_turn_that_ends_before_it_is_stored_is_finished_and_its_id_is_known(self) -> None:
        session, journal = made(Desk())
        turn = say(session, journal, "hello", "m1")
        session.drop(turn)
        turn.complete("stopped")
        write = written(journal)
        assert (write.accepted, list(write.finished), write.last_turn) == ({}, [1], 1)
        assert write.facts["id1"] == b'["m1",1]'
        assert list(written(journal).finished) == []

    def test_one_in_doubt_is_repeated_as_it_was_and_what_is_new_follows(self) -> None:
        desk = Desk()
        session, journal = made(desk)
        written(journal)
        session.publish("note", {})
        doubtful = journal.next_write(1.0)
        session.publish("note", {})
        assert journal.next_write(2.0) is doubtful
        desk.marked.clear()
        journal.settle(Outcome.DONE)
        assert (journal.urgent, desk.marked, journal.log.durable) == (True, [journal], 1)
        write = written(journal)
        assert write.batch is not None
        assert (write.number, write.before, write.batch.last) == (doubtful.number + 1, 1, 2)

    @pytest.mark.parametrize("outcome", [Outcome.GAP, Outcome.LOST])
    def test_what_the_store_has_lost_is_given_to_it_again(self, outcome: Outcome) -> None:
        session, journal = made(Desk())
        say(session, journal, "one", "m1")
        begin(session).publish("a")
        session.turn.complete("completed")  # type: ignore[union-attr]
        session.turn = None
        written(journal)
        say(session, journal, "two", "m2")
        assert written(journal, outcome).created is None
        assert journal.urgent
        write = written(journal)
        assert (write.created, write.anew, write.number) == (Origin("ann", session.token_digest, (0,)), True, 3)
        assert write.batch is not None and (write.before, write.batch.last) == (0, session.log.head)
        assert (list(write.accepted), write.last_turn, len(write.history)) == ([2], 2, 2)
        assert write.facts == {"state": b"{}", "id1": b'["m1",1]', "id2": b'["m2",2]'}
        assert written(journal).created is None

    def test_a_log_that_has_forgotten_what_was_not_stored_begins_behind_it(self) -> None:
        session, journal = made(Desk())
        written(journal)
        for _ in range(20):
            session.publish("note", {"text": "x" * 100})
        session.log.trim(15, 0)
        write = written(journal)
        assert write.anew and write.created is None
        assert write.before == write.trim == 15
        assert write.batch is not None and write.batch.last == journal.log.durable == 20

    def test_an_id_has_one_of_256_places(self) -> None:
        session, journal = made(Desk())
        session.last_turn = 300
        say(session, journal, "hello", "m1")
        assert written(journal).facts["id45"] == b'["m1",301]'


class TestLeaving:
    def test_who_finds_another_writer_says_so(self) -> None:
        desk = Desk()
        _, journal = made(desk)
        written(journal, Outcome.FENCED)
        assert desk.settled == [Outcome.FENCED]

    def test_what_is_released_is_told_once_it_is_stored(self) -> None:
        desk = Desk()
        session, journal = made(desk)
        session.publish("note", {})
        journal.release()
        assert (journal.released, journal.urgent, desk.settled) == (True, True, [])
        write = written(journal)
        assert write.released and write.batch is not None
        assert desk.settled == [Outcome.DONE]

    def test_nothing_is_waited_for_any_more(self) -> None:
        async def main() -> None:
            desk, said = Desk(), list[str]()
            session, journal = made(desk, strict=True)
            session.publish("note", {})
            journal.when_stored(1, lambda: said.append("shown"))
            journal.storing = lambda: said.append("begun")
            going = asyncio.create_task(journal.gone(asyncio.get_running_loop().create_future()))
            await asyncio.sleep(0)
            journal.leave()
            await going
            await journal.gone(asyncio.get_running_loop().create_future())
            journal.go_on()
            desk.marked.clear()
            session.publish("note", {})
            journal.hurry()
            assert (said, desk.marked, desk.forgotten) == ([], [], [journal])

        asyncio.run(main())


class TestTheEnd:
    def test_what_was_never_stored_is_just_forgotten(self) -> None:
        desk = Desk()
        _, journal = made(desk)
        journal.end(out_of_reach=False)
        assert (journal.left, desk.forgotten) == (True, [journal])

    @pytest.mark.parametrize("out", [False, True])
    def test_what_may_have_been_stored_is_ended_there_if_anybody_can_be_told(self, out: bool) -> None:
        _, journal = made(Desk())
        journal.next_write(0.0)
        journal.end(out_of_reach=out)
        assert journal.left is out
        if not out:
            # What was under way is done, or not; what it was does not matter.
            write = written(journal)
            assert write.ended and write.number == 2 and write.created is None
            assert journal.left

    @pytest.mark.parametrize("outcome", [Outcome.FENCED, Outcome.LOST])
    def test_it_is_over_also_where_others_have_it_or_nobody_knows_it(self, outcome: Outcome) -> None:
        desk = Desk()
        _, journal = made(desk)
        written(journal)
        journal.end(out_of_reach=True)
        assert not journal.left
        assert written(journal, outcome).ended
        assert (journal.left, desk.settled) == (True, [])

    def test_a_write_that_was_under_way_is_followed_by_the_end(self) -> None:
        session, journal = made(Desk())
        written(journal)
        session.publish("note", {})
        journal.next_write(0.0)
        journal.end(out_of_reach=False)
        journal.settle(Outcome.DONE)
        assert not journal.left and journal.urgent
        assert written(journal).ended
        assert journal.left


class TestWaiting:
    def test_a_message_goes_on_once_it_is_stored_with_the_next_write_or_later(self) -> None:
        began = list[int]()
        session, journal = made(Desk())
        journal.next_write(0.0)
        turn = session.accept(Message("hello", "m1"))
        assert turn is not None
        journal.accept(turn, lambda: began.append(turn.id))
        journal.settle(Outcome.DONE)
        assert began == [], "it was not in that write"
        written(journal)
        journal.go_on()
        assert began == [1]

    def test_what_waits_for_an_event_is_called_in_order_and_few_wait(self) -> None:
        called = list[int]()
        session, journal = made(Desk(), strict=True)
        for seq in range(1, 5):
            assert not journal.holds_much
            session.publish("note", {})
            journal.when_stored(seq, partial(called.append, seq))
        assert journal.holds_much
        written(journal)
        assert called == [1, 2, 3, 4] and not journal.holds_much
        journal.when_stored(4, partial(called.append, 5))
        assert called[-1] == 5

    @pytest.mark.parametrize(("strict", "watched"), [(False, False), (True, False), (False, True)])
    def test_tokens_are_hurried_where_somebody_waits_to_be_shown_them(self, strict: bool, watched: bool) -> None:
        writes = list[Write]()
        session, journal = made(Desk(), strict=strict)
        written(journal)
        journal.watcher = writes.append if watched else None
        session.publish("note", {})
        assert journal.urgent is (strict or watched) and journal.marked
        write = written(journal)
        assert writes == ([write] if watched else [])
