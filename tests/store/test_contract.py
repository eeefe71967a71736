"""What every store keeps of the port's promises: the same tests for memory, a Redis, and a cluster of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wsserver.store.port import LETTERS_LEFT, Batch, Count, Origin, Outcome, Piece, Seat, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.worlds import Script, World
    from wsserver.store.port import Store

    Run = Callable[[Script], None]

DIGEST = bytes(range(32))
ALICE = Origin("alice", DIGEST)
#: A time that is soon over, and is not while a few calls are made.
SOON = 0.5


def tokens(last: int, *values: str, turn: int = 1) -> Batch:
    return Batch(last, (Piece(turn, tuple(value.encode() for value in values)),))


def first(session_id: str = "s_1", **changes: object) -> Write:
    """The first write of a session: one event."""
    write = Write(session_id, 1, 1, 60.0, ALICE, batch=Batch(1, (Piece(None, (b'{"event":"start"}',)),)))
    return replace(write, **changes)  # type: ignore[arg-type]


def later(number: int, before: int, batch: Batch | None = None, **changes: object) -> Write:
    return replace(Write("s_1", 1, number, 60.0, None, before, batch), **changes)  # type: ignore[arg-type]


async def done(store: Store, *writes: Write) -> None:
    for write in writes:
        assert await store.write([write]) == [Outcome.DONE]


class TestSessions:
    def test_what_is_written_is_found_by_all(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            assert await two.find("s_1") is None
            await done(one, first(last_turn=1))
            record = await two.find("s_1")
            assert record is not None
            assert record == ("alice", DIGEST, (0,), one.process, 1, 0, 1, 1)

        run(script)

    @pytest.mark.parametrize("user", [None, "", "Ålice 爱丽丝", "half a character: \ud800", "a" * 300])
    def test_any_user(self, run: Run, user: str | None) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            await done(store, first(created=Origin(user, DIGEST)))
            record = await store.find("s_1")
            assert record is not None and record.user == user
            assert await store.sit({Seat("user", user or ""): 1}) is None
            assert await store.find(f"}}{user}{{\r\n") is None

        run(script)

    def test_a_taken_session_is_whole(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            event = Piece(None, ('{"event":"tool","data":{"message":"查询"}}'.encode(),))
            batch = Batch(6, (Piece(2, (b"", b"\\n")), event, Piece(2, ("再见".encode(),)), Piece(3, (b"x",))))
            await done(
                one,
                first(accepted={2: b'{"content":"hello"}', 3: b"[3]", 4: b"[4]"}),
                later(2, 1, batch, last_turn=4, finished=[3], history=[b"one", b"two"], facts={"state": b"{}"}),
                later(3, 6, facts={"ids": b"[1]"}, history=[b"three"], finished=[]),
            )
            copy = await two.take("s_1", 1, lost=False)
            assert copy is not None
            assert copy.record == ("alice", DIGEST, (0,), two.process, 2, 0, 6, 4)
            assert copy.log == (Batch(1, (Piece(None, (b'{"event":"start"}',)),)), batch)
            assert copy.facts == {"state": b"{}", "ids": b"[1]"}
            assert copy.history == (b"one", b"two", b"three")
            assert copy.unfinished == {2: b'{"content":"hello"}', 4: b"[4]"}
            assert copy.letters == ()

        run(script)

    def test_a_turn_that_was_accepted_and_ended_together_is_finished(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            await done(store, first(accepted={1: b"hello"}, finished=[1]))
            copy = await store.take("s_1", 1, lost=False)
            assert copy is not None and copy.unfinished == {}

        run(script)

    def test_the_history_is_cut_to_its_newest_entries_or_replaced(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()

            async def history(fence: int) -> tuple[bytes, ...]:
                copy = await store.take("s_1", fence, lost=False)
                assert copy is not None
                return copy.history

            await done(store, first(history=[b"1", b"2", b"3"]))
            await done(store, later(2, 1, history=[b"4"], history_length=2))
            assert await history(1) == (b"3", b"4")
            await done(store, later(1, 1, fence=2, history=[b"new"], history_length=1))
            assert await history(2) == (b"new",)
            await done(store, later(1, 1, fence=3, history_length=5))
            assert await history(3) == (b"new",)
            await done(store, later(1, 1, fence=4, history=[b"x"], history_length=0))
            assert await history(4) == ()

        run(script)

    def test_a_flush_is_of_many_sessions(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            names = [f"s_{number}" for number in range(50)]
            assert await store.write(first(name) for name in names) == [Outcome.DONE] * 50
            writes = [
                later(2, 1, tokens(2, name), session_id=name)
                if name != "s_7"
                else later(2, 5, tokens(6, "x"), session_id=name)
                for name in names
            ]
            outcomes = await store.write(writes)
            assert [names[n] for n, outcome in enumerate(outcomes) if outcome is Outcome.GAP] == ["s_7"]
            assert outcomes.count(Outcome.DONE) == 49
            assert await store.read("s_31", 1, 10) == [tokens(2, "s_31")]
            assert await store.write([]) == []

        run(script)

    def test_what_is_not_renewed_is_forgotten(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            everything = first(
                ttl=SOON, facts={"state": b"{}"}, history=[b"1"], accepted={1: b"1"}, last_turn=1, trim=0
            )
            await done(store, everything, first("s_2", ttl=SOON), later(2, 1, session_id="s_2"))
            await world.elapse(SOON + 0.1)
            assert await store.find("s_1") is None
            assert await store.take("s_1", 1, lost=True) is None
            assert await store.read("s_1", 0, 10) == []
            assert await store.write([later(2, 1, tokens(2, "x"))]) == [Outcome.LOST]
            assert await store.find("s_2") is not None

        run(script)

    def test_what_is_written_again_and_again_is_kept_whole(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first(facts={"state": b"{}"}, history=[b"1"], accepted={1: b"1"}))
            for number in range(2, 12):
                await world.elapse(50.0)
                # Of ever longer lives, too.
                await done(one, later(number, number - 1, tokens(number, "x"), ttl=60.0 + number))
            copy = await two.take("s_1", 1, lost=False)
            assert copy is not None
            assert (copy.facts, copy.history, copy.unfinished) == ({"state": b"{}"}, (b"1",), {1: b"1"})
            assert [batch.last for batch in copy.log] == list(range(1, 12))

        run(script)

    def test_what_has_ended_is_gone_and_no_late_write_brings_it_back(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            end = later(2, 1, ended=True)
            await done(store, first(facts={"state": b"{}"}, history=[b"1"], accepted={1: b"1"}), end)
            assert await store.find("s_1") is None
            assert await store.take("s_1", 1, lost=False) is None
            assert await store.read("s_1", 0, 10) == []
            assert not await store.leave("s_1", b"letter")
            assert await store.write([end]) == [Outcome.DONE]
            assert await store.write([first()]) == [Outcome.DONE]
            assert await store.write([later(3, 1, tokens(2, "x"))]) == [Outcome.FENCED]
            assert await store.find("s_1") is None

        run(script)

    def test_a_session_may_end_with_its_first_write(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            await done(store, first(ended=True))
            assert await store.find("s_1") is None

        run(script)


class TestFences:
    def test_the_older_writer_is_refused(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first())
            copy = await two.take("s_1", 1, lost=False)
            assert copy is not None and copy.record.fence == 2 and copy.record.writer == two.process
            assert await one.write([later(2, 1, tokens(2, "x"), facts={"state": b"1"})]) == [Outcome.FENCED]
            assert await one.write([later(2, 1, ended=True)]) == [Outcome.FENCED]
            await done(two, later(1, 1, tokens(2, "y"), fence=2))
            assert await one.read("s_1", 1, 10) == [tokens(2, "y")]

        run(script)

    def test_a_fence_is_its_writers_only(self, run: Run) -> None:
        """Two hold the same one where the store has forgotten the first: a replica was made the primary too early."""

        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first())
            whole = first(number=3, batch=tokens(1, "z"))
            for write in (later(1, 1), later(2, 1, tokens(2, "x")), whole, later(2, 1, ended=True)):
                assert await two.write([write]) == [Outcome.FENCED]
            await done(one, later(2, 1, tokens(2, "y"), released=True), later(2, 1, tokens(2, "y"), released=True))
            assert await two.read("s_1", 1, 10) == [tokens(2, "y")]

        run(script)

    def test_one_of_many_takes_it(self, run: Run) -> None:
        async def script(world: World) -> None:
            stores = [await world.store() for _ in range(4)]
            await done(stores[0], first())
            copies = await asyncio.gather(*(store.take("s_1", 1, lost=False) for store in stores))
            (winner,) = (store for store, copy in zip(stores, copies, strict=True) if copy is not None)
            record = await stores[0].find("s_1")
            assert record is not None and record.writer == winner.process and record.fence == 2
            assert await stores[1].take("s_unknown", 1, lost=False) is None

        run(script)

    def test_a_lost_end_begins_an_epoch(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first(), later(2, 1, tokens(3, "a", "b")))
            copy = await two.take("s_1", 1, lost=True)
            assert copy is not None and copy.record.begins == (0, 3)
            copy = await one.take("s_1", 2, lost=True)
            assert copy is not None and copy.record.begins == (0, 3, 3)
            copy = await one.take("s_1", 3, lost=False)
            assert copy is not None and copy.record.begins == (0, 3, 3)
            record = await one.find("s_1")
            assert record is not None and record.begins == (0, 3, 3) and record.fence == 4

        run(script)

    def test_what_is_released_has_no_writer(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first(), later(2, 1, tokens(2, "x"), released=True))
            record = await two.find("s_1")
            assert record is not None and record.writer == "" and record.fence == 1 and record.head == 2
            copy = await two.take("s_1", 1, lost=False)
            assert copy is not None and copy.record.writer == two.process

        run(script)


class TestLogs:
    def test_a_gap_is_refused_and_nothing_changes(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            await done(store, first())
            for before in (0, 2):
                write = later(2, before, tokens(before + 1, "x"), facts={"state": b"1"}, history=[b"1"], trim=1)
                assert await store.write([replace(write, accepted={1: b"1"}, last_turn=7)]) == [Outcome.GAP]
            copy = await store.take("s_1", 1, lost=False)
            assert copy is not None
            assert copy.record == ("alice", DIGEST, (0,), store.process, 2, 0, 1, 0)
            assert len(copy.log) == 1 and not copy.facts and not copy.history and not copy.unfinished

        run(script)

    def test_a_repeated_write_is_done_once(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            one, two = first(), later(2, 1, tokens(3, "a", "b"), history=[b"1"])
            await done(store, one, one, two, two, one)
            await done(store, later(3, 3, tokens(4, "c")), two)
            copy = await store.take("s_1", 1, lost=False)
            assert copy is not None
            assert [batch.last for batch in copy.log] == [1, 3, 4] and copy.history == (b"1",)

        run(script)

    def test_numbers_begin_again_with_each_fence(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first(), later(2, 1, tokens(2, "a")), later(3, 2, tokens(3, "b")))
            assert await two.take("s_1", 1, lost=False) is not None
            await done(two, later(1, 3, tokens(4, "c"), fence=2))
            assert [batch.last for batch in await one.read("s_1", 0, 10)] == [1, 2, 3, 4]

        run(script)

    def test_a_log_that_begins_anew_drops_what_was_there(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            await done(store, first(history=[b"1"]), later(2, 1, tokens(2, "a")))
            await done(store, later(3, 500, tokens(502, "b", "c"), anew=True))
            record = await store.find("s_1")
            assert record is not None and (record.start, record.head) == (500, 502)
            assert await store.read("s_1", 0, 10) == [tokens(502, "b", "c")]
            # It may begin before its old end, too: a store that had to be given an older copy of itself.
            await done(store, later(4, 100, anew=True), later(5, 100, tokens(101, "d")))
            copy = await store.take("s_1", 1, lost=False)
            assert copy is not None and copy.history == (b"1",)
            assert (copy.record.start, copy.record.head, copy.log) == (100, 101, (tokens(101, "d"),))

        run(script)

    def test_a_store_that_lost_it_is_given_it_again(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            assert await one.write([later(9, 40, tokens(41, "x"), fence=3)]) == [Outcome.LOST]
            assert await one.find("s_1") is None
            again = Write(
                "s_1", 3, 9, 60.0, Origin("alice", DIGEST, (0, 7)), 40, tokens(41, "x"), anew=True, last_turn=5
            )
            await done(one, again, again, later(10, 41, tokens(42, "y"), fence=3))
            record = await two.find("s_1")
            assert record == ("alice", DIGEST, (0, 7), one.process, 3, 40, 42, 5)

        run(script)

    def test_a_store_that_knows_an_older_fence_has_lost_a_part(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first(history=[b"old"], facts={"old": b"1"}, accepted={1: b"old"}))
            assert await two.write([later(4, 1, tokens(2, "x"), fence=2)]) == [Outcome.LOST]
            record = await one.find("s_1")
            assert record is not None and record.fence == 1 and record.head == 1
            await done(
                two, first(fence=2, number=4, created=Origin("alice", DIGEST, (0, 1)), before=1, batch=tokens(2, "x"))
            )
            copy = await one.take("s_1", 2, lost=False)
            assert copy is not None
            assert copy.record == ("alice", DIGEST, (0, 1), one.process, 3, 1, 2, 0)
            assert copy.log == (tokens(2, "x"),) and not copy.history and not copy.facts and not copy.unfinished

        run(script)

    def test_what_is_given_whole_replaces_what_was_known(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            everything = first(facts={"old": b"1"}, history=[b"old"], accepted={1: b"old"}, last_turn=1)
            whole = later(9, 7, tokens(8, "x"), created=Origin(None, DIGEST, (0, 5)), anew=True, history=[b"new"])
            await done(store, everything, whole, everything, whole, later(10, 8, tokens(9, "y")))
            copy = await store.take("s_1", 1, lost=False)
            assert copy is not None
            assert copy.record == (None, DIGEST, (0, 5), store.process, 2, 7, 9, 0)
            assert copy.log == (tokens(8, "x"), tokens(9, "y")) and copy.history == (b"new",)
            assert not copy.facts and not copy.unfinished

        run(script)

    def test_a_write_that_does_not_follow_the_last_one_is_a_gap(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            await done(store, first(), later(2, 1, tokens(2, "a")))
            # Its log would do, but what the third one changed beside it is not known.
            assert await store.write([later(4, 2, tokens(3, "b"), facts={"state": b"1"})]) == [Outcome.GAP]
            assert await store.write([later(4, 2)]) == [Outcome.GAP]
            await done(store, later(3, 2, finished=[1]), later(4, 2, tokens(3, "b")))
            await done(store, later(7, 3, ended=True))
            assert await store.find("s_1") is None

        run(script)

    def test_a_read_begins_with_the_batch_that_holds_the_next_event(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first(), later(2, 1, tokens(4, "a", "b", "c")), later(3, 4, tokens(5, "d")))
            every = [first().batch, tokens(4, "a", "b", "c"), tokens(5, "d")]
            assert await two.read("s_1", 0, 10) == every
            assert await two.read("s_1", 0, 2) == every[:2]
            for after in (1, 2, 3):
                assert await two.read("s_1", after, 10) == every[1:]
            assert await two.read("s_1", 4, 10) == every[2:]
            assert await two.read("s_1", 5, 10) == []
            assert await two.read("s_unknown", 0, 10) == []

        run(script)

    def test_numbers_may_be_large(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            head = 2**53 + 1  # where a number of Lua is no longer exact
            await done(store, first(before=head - 1, batch=tokens(head, "x")))
            await done(store, later(2, head, tokens(head + 1, "y"), last_turn=2**40))
            record = await store.find("s_1")
            assert record is not None
            assert (record.start, record.head, record.last_turn) == (head - 1, head + 1, 2**40)
            assert await store.read("s_1", head, 10) == [tokens(head + 1, "y")]

        run(script)

    def test_what_is_trimmed_may_be_gone_and_what_follows_is_not(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            await done(store, first(), later(2, 1, tokens(3, "a", "b")), later(3, 3, tokens(6, "c", "d", "e")))
            await done(store, later(4, 6, tokens(7, "f"), trim=4))
            record = await store.find("s_1")
            assert record is not None and (record.start, record.head) == (4, 7)
            assert await store.read("s_1", 4, 10) == [tokens(6, "c", "d", "e"), tokens(7, "f")]
            copy = await store.take("s_1", 1, lost=False)
            assert copy is not None and copy.log == (tokens(6, "c", "d", "e"), tokens(7, "f"))
            await done(store, later(1, 7, fence=2, trim=7), later(2, 7, fence=2, trim=3), later(3, 7, fence=2, trim=99))
            record = await store.find("s_1")
            assert record is not None and (record.start, record.head) == (7, 7)
            assert await store.read("s_1", 7, 10) == []

        run(script)


class TestProcesses:
    def test_a_lease_lasts_as_long_as_it_is_renewed(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(lease=2 * SOON), await world.store()
            assert one.process != two.process and one.lease == 2 * SOON
            for _ in range(3):
                assert await two.is_alive(one.process)
                await one.renew()
                await world.elapse(SOON)
            assert await two.is_alive(one.process)
            await world.elapse(2 * SOON)
            assert not await two.is_alive(one.process)
            await one.renew()
            assert await two.is_alive(one.process)
            await one.close()
            assert not await two.is_alive(one.process)
            assert not await two.is_alive("nobody") and not await two.is_alive("")

        run(script)


class TestCount:
    def test_of_all_that_live(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(lease=2 * SOON), await world.store()
            assert await one.count() == Count(2)
            await one.renew(Count(1, 5, 4, 3))
            await two.renew(Count(1, 10, 20, 30))
            assert await one.sit({USER: 1}) is None
            assert await one.count() == await two.count() == Count(2, 15, 24, 33)
            await two.renew(Count(1, 10, 0, 1))
            assert await one.count() == Count(2, 15, 4, 4)
            await world.elapse(SOON)
            await two.renew(Count(1, 10))
            await world.elapse(SOON + 0.1)
            assert await two.count() == Count(1, 10)
            await one.renew(Count(1, 5))
            assert await two.count() == Count(2, 15)
            await two.close()
            assert await one.count() == Count(1, 5)

        run(script)


class TestLetters:
    def test_they_arrive_in_order(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await one.post([(two.process, b"1"), (one.process, b"to myself"), (two.process, b"2")])
            await one.post([(two.process, b"\x00\xff")])
            received: list[bytes] = []
            while len(received) < 3:
                received += await two.receive()
            assert received == [b"1", b"2", b"\x00\xff"]
            assert await one.receive() == [b"to myself"]
            await one.post([("nobody", b"lost")])
            await one.post([])

        run(script)

    def test_who_waits_is_woken(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            for letter in (b"1", b"2"):
                waiting = asyncio.create_task(two.receive())
                await asyncio.sleep(0)
                await one.post([(two.process, letter)])
                assert await waiting == [letter]

        run(script)

    def test_a_cancelled_wait_loses_none(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            letters = [b"%d" % number for number in range(30)]
            received: list[bytes] = []
            for letter in letters:
                waiting = asyncio.create_task(two.receive())
                await asyncio.sleep(0)
                await one.post([(two.process, letter)])
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    received += await waiting
            await one.post([(two.process, b"end")])
            while received[-1:] != [b"end"]:
                received += await two.receive()
            assert received == [*letters, b"end"]

        run(script)

    def test_a_letter_is_left_for_whoever_takes_the_session(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(lease=SOON), await world.store()
            assert not await two.leave("s_1", b"to nobody")
            await done(one, first(), first("s_2"))
            assert not await two.leave("s_1", b"to a living writer")
            await done(one, later(2, 1, released=True))
            assert await two.leave("s_1", b"1")
            assert await two.leave("s_1", b"2")
            await world.elapse(SOON + 0.1)
            assert await two.leave("s_2", b"3")
            copy = await two.take("s_1", 1, lost=False)
            assert copy is not None and copy.letters == (b"1", b"2")
            assert not await two.leave("s_1", b"too late")
            copy = await two.take("s_2", 1, lost=True)
            assert copy is not None and copy.letters == (b"3",)

        run(script)

    def test_left_letters_stay_until_their_taker_has_written(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            await done(one, first(released=True))
            assert await two.leave("s_1", b"1")
            assert await one.take("s_1", 1, lost=False) is not None
            # It died before it wrote.
            copy = await two.take("s_1", 2, lost=True)
            assert copy is not None and copy.letters == (b"1",)
            await done(two, later(1, 1, tokens(2, "x"), fence=3, released=True))
            assert await two.leave("s_1", b"2")
            copy = await one.take("s_1", 3, lost=False)
            assert copy is not None and copy.letters == (b"2",)

        run(script)

    def test_left_letters_are_bounded(self, run: Run) -> None:
        async def script(world: World) -> None:
            store = await world.store()
            await done(store, first(released=True))
            left = [store.leave("s_1", b"%d" % number) for number in range(LETTERS_LEFT + 5)]
            assert all(await asyncio.gather(*left))
            copy = await store.take("s_1", 1, lost=False)
            assert copy is not None and copy.letters == tuple(b"%d" % n for n in range(5, LETTERS_LEFT + 5))

        run(script)


USER, ADDRESS = Seat("user", "Ålice"), Seat("address", "2001:db8::/64")


class TestSeats:
    def test_all_or_none_and_over_all_processes(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            assert await one.sit({USER: 2, ADDRESS: 3}) is None
            assert await two.sit({USER: 2, ADDRESS: 3}) is None
            assert await one.sit({ADDRESS: 3, USER: 2}) == USER
            assert await one.sit({ADDRESS: 3}) is None
            assert await two.sit({USER: 3, ADDRESS: 3}) == ADDRESS
            assert await two.sit({USER: 3}) is None
            assert await two.sit({Seat("address", USER.name): 1}) is None
            assert await two.sit({}) is None

        run(script)

    def test_who_stands_gives_a_place_back(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            for _ in range(3):
                assert await one.sit({USER: 1, ADDRESS: 1}) is None
                assert await two.sit({USER: 1}) == USER
                await one.stand([USER, ADDRESS])
            assert await two.sit({USER: 1}) is None
            await two.stand([])

        run(script)

    def test_no_more_than_the_limit_sit_at_once(self, run: Run) -> None:
        async def script(world: World) -> None:
            stores = [await world.store() for _ in range(3)]
            found = await asyncio.gather(*(stores[n % 3].sit({USER: 10}) for n in range(60)))
            assert found.count(None) == 10
            await asyncio.gather(*(store.stand([USER]) for n, store in enumerate(stores * 20) if found[n] is None))
            assert [await stores[0].sit({USER: 10}) for _ in range(11)] == [None] * 10 + [USER]

        run(script)

    def test_a_crashed_process_frees_its_places(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(lease=SOON), await world.store()
            assert await one.sit({USER: 1}) is None
            assert await two.sit({USER: 1}) == USER
            await world.elapse(SOON + 0.1)
            assert await two.sit({USER: 1}) is None

        run(script)

    def test_who_comes_back_has_its_places_again(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(lease=SOON), await world.store()
            assert await one.sit({USER: 3, ADDRESS: 3}) is None
            assert await one.sit({USER: 3}) is None
            await world.elapse(SOON + 0.1)
            await two.renew()
            await one.stand([ADDRESS])
            await one.renew()
            assert await two.sit({USER: 3}) is None
            assert await two.sit({USER: 3}) == USER
            assert await two.sit({ADDRESS: 1}) is None

        run(script)

    def test_a_process_that_ends_gives_them_back(self, run: Run) -> None:
        async def script(world: World) -> None:
            one, two = await world.store(), await world.store()
            assert await one.sit({USER: 1}) is None
            await one.close()
            assert await two.sit({USER: 1}) is None

        run(script)
