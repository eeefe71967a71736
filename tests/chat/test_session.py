"""A session: the numbers of its turns, what waits and what is refused, what it remembers."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pytest

from tests.chat.person import Gate, Person, finish, line, person
from wsserver.chat import envelope
from wsserver.chat.events import Answer
from wsserver.chat.history import ENTRY_OVERHEAD, Said
from wsserver.chat.log import Cursor, Pool
from wsserver.chat.session import _DETACHED_STEP, REMEMBERED_IDS, Session
from wsserver.config import Config
from wsserver.errors import ClientError


def refused(somebody: Person, content: Any, id: str | None = None) -> ClientError:
    with pytest.raises(ClientError) as caught:
        somebody.says(content, id)
    assert caught.value.ref == id
    return caught.value


def answer(somebody: Person, content: Any, text: str, status: str = "completed") -> None:
    """A turn from its first to its last event."""
    turn = somebody.asks(content)
    turn.publish(text)
    turn.complete(status)
    finish(somebody.session)


class TestNames:
    def test_they_are_url_safe_and_never_the_same(self) -> None:
        sessions = [person().session for _ in range(100)]
        tokens = [session.new_token() for session in sessions]
        assert len({session.id for session in sessions}) == len(set(tokens)) == 100
        for session, token in zip(sessions, tokens, strict=True):
            assert re.fullmatch(r"s_[A-Za-z0-9_-]{22}", session.id)
            assert re.fullmatch(r"s_[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{22}", token)
            assert token.startswith(session.id)

    def test_of_a_token_only_the_digest_is_kept(self) -> None:
        session = person().session
        token = session.new_token()
        assert session._token_digest == sha256(token.encode()).digest()
        secret = token.split(".")[1]
        kept = [getattr(session, name) for name in session.__slots__]
        assert secret not in repr(kept)

    def test_a_new_token_replaces_the_old_one(self) -> None:
        session = person().session
        old = session.new_token()
        assert session.new_token() != old
        assert not session.admits(old, None)

    def test_repr(self) -> None:
        somebody = person()
        session = somebody.session
        assert repr(session) == f"<Session {session.id} seq=0 turn=None waiting=0>"
        turn = somebody.asks("hello")
        somebody.says("and")
        assert repr(session) == f"<Session {session.id} seq=1 turn=1 waiting=1>"
        assert repr(turn) == f"<Turn 1 of {session.id}>"
        turn.complete("completed")
        assert repr(turn) == f"<Turn 1 of {session.id} over>"


class TestComingBack:
    def test_with_the_token(self) -> None:
        session = person().session
        token = session.new_token()
        assert session.admits(token, None)
        assert session.admits(token, None)

    @pytest.mark.parametrize("wrong", ["", "x", "{id}", "{id}.", "{id}.x", "{token} ", "{token}.", ".{secret}", "é"])
    def test_with_another_one(self, wrong: str) -> None:
        session = person().session
        token = session.new_token()
        tried = wrong.format(id=session.id, token=token, secret=token.split(".")[1])
        assert not session.admits(tried, None)

    def test_before_a_token_was_made(self) -> None:
        session = person().session
        assert not session.admits("", None)
        assert not session.admits(session.id, None)

    @pytest.mark.parametrize("owner, comer", [("ada", "bob"), ("ada", None), (None, "ada"), (None, ""), ("ada", "")])
    def test_as_somebody_else(self, owner: str | None, comer: str | None) -> None:
        session = person(user=owner).session
        token = session.new_token()
        assert session.admits(token, owner)
        assert not session.admits(token, comer)

    def test_to_what_is_still_held(self) -> None:
        somebody = person(max_log_size=0)
        session = somebody.session
        assert session.holds_after(0, 1) and not session.holds_after(1, 1)
        for number in range(3):
            session.publish("news", {"n": number})
        assert [session.holds_after(seq, 1) for seq in (-1, 0, 2, 3, 4)] == [False, True, True, True, False]
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        assert [session.holds_after(seq, 1) for seq in (0, 1, 3)] == [False, True, True]

    @pytest.mark.parametrize("epoch", [0, 2, 10**18])
    def test_from_another_epoch(self, epoch: int) -> None:
        assert not person().session.holds_after(0, epoch)

    def test_a_second_reader_takes_over(self) -> None:
        somebody = person()
        session = somebody.session
        session.publish("news", {"n": 1})
        session.publish("news", {"n": 2})
        assert somebody.shown == ["1 - news n=1", "2 - news n=2"]
        session.was_read(somebody.cursor)
        other = Person(session)
        other.cursor = Cursor(session.log, 1)
        session.attach(other, other.cursor)
        assert (session.read, other.shown) == (1, ["2 - news n=2"])
        session.publish("news", {"n": 3})
        assert (somebody.woken, other.woken) == (2, 1)


def reading(**settings: Any) -> tuple[Person, Session]:
    """Somebody whose reader keeps its session informed."""
    somebody = person(**settings)
    somebody.session.attach(somebody, somebody.cursor)
    return somebody, somebody.session


def publish(session: Session, size: int) -> None:
    session.publish("news", {"x": "x" * size})


def waiting(session: Session) -> Gate:
    """A callback that waits for the reader."""
    gate = session.gate = Gate()
    return gate


class TestPace:
    def test_a_callback_waits_above_the_soft_limit(self) -> None:
        somebody, session = reading(soft_limit=1000)
        publish(session, 1000 - len(envelope.encode_event("news", {"x": ""}, session.id, None, 1)))
        assert (session.log.written, session.must_wait) == (1000, False)
        publish(session, 0)
        assert session.must_wait

    def test_and_goes_on_when_its_reader_has_caught_up(self) -> None:
        somebody, session = reading(soft_limit=1000)
        for _ in range(3):
            publish(session, 900)
        gate = waiting(session)
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        assert (gate.opened, session.gate, session.must_wait) == (0, gate, True)
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        assert (gate.opened, session.gate, session.must_wait) == (1, None, False)
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        assert gate.opened == 1

    def test_what_is_read_goes_only_above_the_limit(self) -> None:
        somebody, session = reading(max_log_size=5000)
        for _ in range(3):
            publish(session, 1000)
        somebody.events()
        session.was_read(somebody.cursor)
        assert session.log.start == 0
        for _ in range(3):
            publish(session, 1000)
        session.was_read(somebody.cursor)
        assert session.log.start == 3
        assert session.log.size <= 5000

    def test_who_waits_looks_again_when_the_reader_is_lost(self) -> None:
        somebody, session = reading(soft_limit=1000)
        publish(session, 2000)
        gate = waiting(session)
        session.detach()
        assert (session.reader, session.gate, gate.opened, session.must_wait) == (None, None, 1, False)

    def test_nobody_waits_nobody_is_let_go(self) -> None:
        _, session = reading()
        session.detach()
        session.open_gate()
        assert session.gate is None

    def test_unread_a_callback_runs_until_the_log_is_full(self) -> None:
        somebody, session = reading(soft_limit=1000, max_log_size=50_000)
        session.detach()
        while not session.must_wait:
            publish(session, 500)
        assert session.log.start == 0
        assert 50_000 < session.log.size < 50_000 + 2 * _DETACHED_STEP

    def test_what_was_read_makes_room(self) -> None:
        somebody, session = reading(soft_limit=1000, max_log_size=50_000)
        for _ in range(40):
            publish(session, 1000)
        somebody.events()
        session.was_read(somebody.cursor)
        session.detach()
        while not session.must_wait:
            publish(session, 500)
        assert session.log.start == session.read == 40
        assert session.holds_after(session.read, 1)

    def test_a_log_that_is_just_full_still_gives_up_what_was_read(self) -> None:
        _, like_it = reading()
        publish(like_it, 2000)
        somebody, session = reading(soft_limit=1000, max_log_size=like_it.log.size)
        publish(session, 2000)
        session.read = 1
        session.detach()
        assert session.log.size == session.log.limit
        assert not session.must_wait

    def test_without_a_log_it_waits_for_a_reader(self) -> None:
        somebody, session = reading(soft_limit=1000, max_log_size=0)
        # A run that still grows is not counted yet.
        somebody.asks("?").publish("x" * 2000)
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        session.detach()
        assert (session.log.size, session.must_wait) == (0, True)
        session.attach(somebody, somebody.cursor)
        somebody.events()
        session.was_read(somebody.cursor)
        assert not session.must_wait

    def test_a_new_reader_is_measured_by_its_own_place(self) -> None:
        somebody, session = reading(soft_limit=1000)
        session.detach()
        for _ in range(5):
            publish(session, 1000)
        assert not session.must_wait
        session.attach(somebody, somebody.cursor)
        assert session.must_wait
        session.attach(somebody, Cursor(session.log))
        assert not session.must_wait


class TestTrimming:
    def test_a_session_forgets_what_was_said_first(self) -> None:
        session = person().session
        session.trim_history(0)
        session.history.add(Said(1, "user", b'"x"', "completed"))
        session.trim_history(0)
        assert session.history.view() == []


class TestPool:
    def counted(self, pool: Pool, **settings: Any) -> Session:
        return Person(Session(Config(**settings), None, pool)).session

    def test_all_sessions_share_it(self) -> None:
        pool = Pool()
        one, other = self.counted(pool), self.counted(pool)
        publish(one, 10)
        publish(other, 1000)
        one.history.add(Said(1, "user", b'"x"', "completed"))
        assert pool.used == one.log.size + other.log.size + ENTRY_OVERHEAD + 3
        one.leave_pool()
        assert pool.used == other.log.size
        other.leave_pool()
        assert pool.used == 0

    def test_what_comes_after_the_end_is_not_counted(self) -> None:
        pool = Pool()
        session = self.counted(pool)
        publish(session, 10)
        session.leave_pool()
        session.leave_pool()
        publish(session, 1000)
        session.log.drop()
        session.history.add(Said(1, "user", b'"x"', "completed"))
        assert (pool.used, session.log.head) == (0, 2)

    def test_a_turn_that_is_under_way_at_the_end(self) -> None:
        pool = Pool()
        session = self.counted(pool)
        turn = Person(session).asks("hello")
        turn.publish("Hi")
        turn.complete("stopped")
        session.leave_pool()
        turn.session.history = [{"role": "user", "content": "late"}]
        assert pool.used == 0


class TestAnswers:
    def test_without_a_turn(self) -> None:
        with pytest.raises(ClientError, match="this question is not open") as caught:
            person().session.answer(Answer("c_1", True, "a1"))
        assert (caught.value.code, caught.value.ref) == ("not_active", "a1")


class TestTurns:
    def test_are_busy_from_the_message_to_the_end_of_the_callback(self) -> None:
        somebody = person()
        session = somebody.session
        assert not session.busy
        somebody.says("a")
        assert session.busy
        turn = session.next_turn()
        assert turn is not None and session.busy
        turn.complete("completed")
        assert session.busy and not session.active
        finish(session)
        assert not session.busy

    def test_are_numbered_when_they_are_taken(self) -> None:
        somebody = person()
        assert [turn and turn.id for turn in map(somebody.says, "abc")] == [1, 2, 3]
        session = somebody.session
        begun = session.next_turn()
        assert begun is not None and (begun.id, begun.content) == (1, "a")
        assert [turn.id for turn in session.unfinished()] == [1, 2, 3]
        begun.complete("completed")
        assert session.active is None
        assert [turn.id for turn in session.unfinished()] == [2, 3]

    def test_the_next_one_begins_when_the_callback_has_ended(self) -> None:
        somebody = person()
        session = somebody.session
        assert session.next_turn() is None
        first = somebody.asks("a")
        somebody.says("b")
        assert session.next_turn() is None
        first.complete("completed")
        assert session.next_turn() is None
        finish(session)
        second = session.next_turn()
        assert second is not None and second is session.active
        assert somebody.shown == ["1 1 start", "2 1 complete status=completed final=True", "3 2 start"]


class TestAck:
    def test_of_a_message_with_an_id(self) -> None:
        somebody = person()
        somebody.says("a", "m1")
        somebody.session.next_turn()
        somebody.says("b", "m2")
        somebody.says("c")
        somebody.says("d", "m4")
        assert list(map(line, somebody.told())) == [
            "- - ack ref=m1 turn=1 queued=0 duplicate=False",
            "- - ack ref=m2 turn=2 queued=1 duplicate=False",
            "- - ack ref=m4 turn=4 queued=3 duplicate=False",
        ]

    def test_an_id_that_was_taken_makes_no_second_turn(self) -> None:
        somebody = person()
        assert somebody.says("a", "m1")
        somebody.told()
        assert somebody.says("a again", "m1") is None
        assert list(map(line, somebody.told())) == ["- - ack ref=m1 turn=1 duplicate=True"]
        assert len(somebody.session.waiting) == 1
        assert [turn and turn.id for turn in (somebody.says("b", "m2"), somebody.says("c"))] == [2, 3]

    def test_also_where_a_new_message_would_be_refused(self) -> None:
        somebody = person(busy="reject")
        somebody.asks("a", "m1")
        assert somebody.says("a", "m1") is None

    def test_the_last_256_ids_are_known(self) -> None:
        somebody = person(max_queue=1000)
        for number in range(REMEMBERED_IDS):
            assert somebody.says("x", f"m{number}")
        assert somebody.says("x", "m0") is None
        assert somebody.says("x", "one more")
        assert somebody.says("x", "m1") is None
        again = somebody.says("x", "m0")
        assert again is not None and again.id == REMEMBERED_IDS + 2

    def test_a_refused_message_may_be_sent_again(self) -> None:
        somebody = person(busy="reject")
        first = somebody.asks("a")
        assert refused(somebody, "b", "m2").code == "turn_active"
        first.complete("completed")
        second = somebody.says("b", "m2")
        assert second is not None and second.id == 2
        assert list(map(line, somebody.told())) == ["- - ack ref=m2 turn=2 queued=0 duplicate=False"]

    def test_without_anybody_there(self) -> None:
        somebody = person()
        somebody.session.reader = None
        assert somebody.says("a", "m1")
        assert somebody.told() == []


class TestBusy:
    @pytest.mark.parametrize("size", [0, 1, 3])
    def test_queue_is_bounded(self, size: int) -> None:
        somebody = person(max_queue=size)
        turn = somebody.asks("a")
        for number in range(size):
            assert somebody.says(number)
        error = refused(somebody, "one too many", "m9")
        assert (error.code, error.message, error.retryable) == ("queue_full", "too many messages wait", True)
        assert len(somebody.session.waiting) == size
        turn.complete("completed")
        finish(somebody.session)
        somebody.session.next_turn()
        assert somebody.says("now there is room", "m9")

    def test_a_turn_that_is_over_is_not_in_the_way(self) -> None:
        somebody = person(max_queue=0)
        somebody.asks("a").complete("stopped")
        assert somebody.says("b", "m2")
        assert line(somebody.told()[0]) == "- - ack ref=m2 turn=2 queued=0 duplicate=False"
        assert refused(somebody, "c").code == "queue_full"

    def test_reject(self) -> None:
        somebody = person(busy="reject")
        turn = somebody.asks("a")
        error = refused(somebody, "b", "m2")
        assert (error.code, error.message, error.retryable) == ("turn_active", "a turn is running", True)
        turn.complete("completed")
        assert somebody.says("c")
        assert refused(somebody, "one waits already").code == "turn_active"

    def test_interrupt_refuses_nothing(self) -> None:
        somebody = person(busy="interrupt", max_queue=0)
        somebody.asks("a")
        assert somebody.says("b", "m2")
        assert somebody.says("c", "m3")
        assert [event["data"]["queued"] for event in somebody.told()] == [0, 0]


class TestTelling:
    def test_an_event_that_is_not_kept(self) -> None:
        somebody = person()
        somebody.session.tell("pong", {"at": 1}, 3)
        assert somebody.told() == [{"event": "pong", "data": {"at": 1}, "session_id": somebody.session.id, "turn": 3}]
        assert (somebody.session.log.head, somebody.woken) == (0, 0)

    def test_without_a_reader_it_is_dropped(self) -> None:
        somebody = person()
        somebody.session.reader = None
        somebody.session.tell("pong", {"not JSON": object()})
        assert somebody.told() == []

    def test_publishing_needs_no_reader(self) -> None:
        somebody = person()
        somebody.session.publish("news", {"n": 1})
        somebody.session.reader = None
        somebody.session.publish("news", {"n": 2})
        assert somebody.woken == 1
        assert somebody.shown == ["1 - news n=1", "2 - news n=2"]

    def test_what_json_cannot_hold_is_not_logged(self) -> None:
        somebody = person()
        with pytest.raises(TypeError, match="the data of the event 'news' cannot be written as JSON"):
            somebody.session.publish("news", {"n": object()})
        somebody.session.publish("news", {"n": 1})
        assert (somebody.shown, somebody.woken) == (["1 - news n=1"], 1)


class TestHistory:
    def test_what_was_said_and_shown(self) -> None:
        somebody = person()
        answer(somebody, "hello", "Hi!")
        answer(somebody, {"file": 1}, "A fi", "stopped")
        somebody.asks("and?")
        assert somebody.session.history.view() == [
            {"role": "user", "content": "hello", "status": "completed"},
            {"role": "assistant", "content": "Hi!", "status": "completed"},
            {"role": "user", "content": {"file": 1}, "status": "completed"},
            {"role": "assistant", "content": "A fi", "status": "stopped"},
            {"role": "user", "content": "and?", "status": "completed"},
        ]

    def test_the_event(self) -> None:
        somebody = person()
        session = somebody.session
        session.tell_history()
        answer(somebody, "hello", "Hi!")
        session.tell_history()
        somebody.asks("more").publish("Mo")
        session.tell_history()
        empty, finished, running = (event["data"] for event in somebody.told())
        assert empty == {"items": [], "active": None, "seq": 0}
        items = [
            {"turn": 1, "role": "user", "content": "hello", "status": "completed"},
            {"turn": 1, "role": "assistant", "content": "Hi!", "status": "completed"},
        ]
        assert finished == {"items": items, "active": None, "seq": 3}
        more = {"turn": 2, "role": "user", "content": "more", "status": "completed"}
        assert running == {"items": [*items, more], "active": {"turn": 2, "text": "Mo"}, "seq": 5}

    def test_turns_that_wait_are_named(self) -> None:
        somebody = person()
        somebody.asks("a")
        somebody.says("b")
        somebody.says("c")
        somebody.session.tell_history()
        assert somebody.told()[-1]["data"]["waiting"] == [2, 3]

    def test_the_oldest_goes_where_there_is_too_much(self) -> None:
        somebody = person(max_history=3 * (ENTRY_OVERHEAD + 10))
        for content in ("12345678", "b", "c"):
            somebody.session.history.add(Said(1, "user", envelope.encode_kept(content), "completed"))
        assert [said["content"] for said in somebody.session.history.view()] == ["12345678", "b", "c"]
        somebody.session.history.add(Said(1, "user", envelope.encode_kept("d"), "completed"))
        assert [said["content"] for said in somebody.session.history.view()] == ["b", "c", "d"]

    def test_bytes_are_counted_and_not_characters(self) -> None:
        somebody = person(max_history=ENTRY_OVERHEAD + 2 + 30)
        somebody.session.history.add(Said(1, "user", envelope.encode_kept("界" * 10), "completed"))
        assert len(somebody.session.history.view()) == 1
        somebody.session.history.add(Said(1, "user", envelope.encode_kept("界" * 11), "completed"))
        assert somebody.session.history.view() == []

    def test_many_short_messages_are_bounded_too(self) -> None:
        somebody = person(max_history=2**16)
        for _ in range(1000):
            somebody.session.history.add(Said(1, "user", envelope.encode_kept("x"), "completed"))
        somebody.session.tell_history()
        (event,) = somebody.told()
        assert 200 < len(event["data"]["items"]) < 2**16 / ENTRY_OVERHEAD

    def test_no_history(self) -> None:
        somebody = person(max_history=0)
        answer(somebody, "hello", "Hi!")
        turn = somebody.asks("and?")
        assert (turn.history, turn.content) == ([], "and?")

    @pytest.mark.parametrize("rest", ["y", "y" * 600])
    def test_a_long_answer_is_cut_where_it_no_longer_fits_and_marked(self, rest: str) -> None:
        room = 1500
        somebody = person(max_history=ENTRY_OVERHEAD + 2 + room)
        turn = somebody.asks("?")
        for part in ("界" * 400, "x" * 300, rest, "z"):
            turn.publish(part)
        turn.complete("completed")
        somebody.session.tell_history()
        text = "界" * 400 + "x" * 300
        assert len(text.encode()) == room
        assert somebody.told()[0]["data"]["items"] == [
            {"turn": 1, "role": "assistant", "content": text, "status": "completed", "truncated": True}
        ]
        assert somebody.session.history.view() == [{"role": "assistant", "content": text, "status": "completed"}]

    def test_one_under_way_is_marked_too(self) -> None:
        somebody = person(max_history=ENTRY_OVERHEAD + 2 + 10)
        turn = somebody.asks("?")
        turn.publish("x" * 10)
        assert turn.shown() == {"turn": 1, "text": "x" * 10}
        turn.publish("y")
        assert turn.shown() == {"turn": 1, "text": "x" * 10, "truncated": True}

    def test_one_that_just_fits_is_not_marked(self) -> None:
        somebody = person(max_history=ENTRY_OVERHEAD + 2 + 1500)
        answer(somebody, "?", "x" * 1500)
        somebody.session.tell_history()
        (item,) = somebody.told()[0]["data"]["items"]
        assert item == {"turn": 1, "role": "assistant", "content": "x" * 1500, "status": "completed"}
