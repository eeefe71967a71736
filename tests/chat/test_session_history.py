"""What a session remembers of its turns: what it tells, what goes first, and what is cut and marked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chat.person import Person, finish, person
from wsserver.chat import envelope
from wsserver.chat.history import ENTRY_OVERHEAD, Said


def answer(somebody: Person, content: Any, text: str, status: str = "completed") -> None:
    """A turn from its first to its last event."""
    turn = somebody.asks(content)
    turn.publish(text)
    turn.complete(status)
    finish(somebody.session)


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
