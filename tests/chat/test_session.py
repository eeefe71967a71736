"""A session: the numbers of its turns, what waits and what is refused, what it remembers."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pytest

from tests.chat.person import Person, finish, line, person
from wsserver.chat.events import Answer
from wsserver.chat.history import Said
from wsserver.chat.log import Cursor
from wsserver.chat.memory import REMEMBERED_IDS
from wsserver.errors import ClientError


def refused(somebody: Person, content: Any, id: str | None = None) -> ClientError:
    with pytest.raises(ClientError) as caught:
        somebody.says(content, id)
    assert caught.value.ref == id
    return caught.value


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
        assert session.token_digest == sha256(token.encode()).digest()
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


class TestTrimming:
    def test_a_session_forgets_what_was_said_first(self) -> None:
        session = person().session
        session.trim_history(0)
        session.history.add(Said(1, "user", b'"x"', "completed"))
        session.trim_history(0)
        assert session.history.view() == []


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

    def test_one_that_is_dropped_while_it_waits_never_begins(self) -> None:
        somebody = person()
        session = somebody.session
        first = somebody.asks("a")
        second, third = somebody.says("b"), somebody.says("c")
        assert second is not None and third is not None
        session.drop(second)
        assert list(session.unfinished()) == [first, third]
        first.complete("completed")
        finish(session)
        assert session.next_turn() is third
        assert session.waiting == ()

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


def test_what_it_remembers_is_made_when_it_is_needed(somebody: Person) -> None:
    assert not somebody.session.has_memory
    somebody.asks("hello", "m1")
    assert somebody.session.has_memory


def test_the_number_of_the_turn_that_is_active(somebody: Person) -> None:
    session = somebody.session
    assert session.active_turn is None
    turn = somebody.asks("hello", "m1")
    assert session.active_turn == turn.id
    turn.complete("completed")
    assert session.active_turn is None


def test_a_history_that_nobody_reads_is_told_to_nobody(somebody: Person) -> None:
    somebody.session.detach()
    somebody.session.tell_history()
    assert somebody.told() == []
