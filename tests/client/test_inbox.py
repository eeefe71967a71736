"""What waits to be taken."""

from __future__ import annotations

import pytest

from wsserver.client import ConnectionLost, Event
from wsserver.client import inbox as inbox_module
from wsserver.client.inbox import EVENT_OVERHEAD, Inbox, Question, Rest


def note(number: int) -> Event:
    return Event("note", {"number": number})


def taken(inbox: Inbox) -> list[Event]:
    events = []
    while inbox.arrived.is_set() and (event := inbox.take()) is not None:
        events.append(event)
    return events


class TestInbox:
    def test_events_come_in_order_and_are_counted(self) -> None:
        inbox = Inbox()
        assert not inbox.arrived.is_set()
        for number in range(3):
            inbox.put(note(number), 10)
        assert inbox.unread == 3 * (10 + EVENT_OVERHEAD)
        assert inbox.take() == note(0)
        assert inbox.unread == 2 * (10 + EVENT_OVERHEAD)
        assert taken(inbox) == [note(1), note(2)]
        assert (inbox.unread, inbox.arrived.is_set()) == (0, False)

    def test_the_end_comes_behind_the_events_and_stays(self) -> None:
        quiet, broken = Inbox(), Inbox()
        for inbox, error in ((quiet, None), (broken, ConnectionLost(1006, ""))):
            inbox.put(note(1))
            inbox.end(error)
            inbox.end(ConnectionLost(1011, "later"))
            inbox.put(note(2))
            assert inbox.take() == note(1)
        assert [quiet.take() for _ in range(2)] == [None, None]
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="1006"):
                broken.take()


class TestQuestion:
    def test_it_knows_what_was_shown(self) -> None:
        question = Question("c1")
        for name, data in (
            ("token", {"value": "wrong"}),
            ("reset", {"channel": "answer"}),
            ("token", {"value": "ri"}),
            ("reset", {"channel": "sources"}),
            ("token", {"value": "ght"}),
            ("token", {}),
            ("ask", {"call_id": "k1"}),
        ):
            question.put(Event(name, data))
        assert (question.shown, question.calls) == ("right", {"k1"})

    def test_it_ends_with_the_final_event(self) -> None:
        question = Question("c1")
        question.put(Event("complete", {"final": True}))
        question.put(note(1))
        assert [event.name for event in taken(question)] == ["complete"]
        assert question.take() is None

    def test_nothing_is_kept_for_one_who_has_left(self) -> None:
        question = Question("c1")
        question.put(note(1), 10)
        question.abandon()
        question.put(note(2), 10)
        assert (question.unread, question.take()) == (0, None)


class TestRest:
    def test_where_nobody_takes_it_the_oldest_go_and_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox_module, "MAX_UNREAD", 2 * (5 + EVENT_OVERHEAD))
        rest = Rest()
        for number in range(7):
            rest.put(note(number), 5)
        assert rest.unread == 4 * (5 + EVENT_OVERHEAD)
        assert taken(rest) == [Event("gap", {"dropped": 3}), *map(note, range(3, 7))]
        assert rest.unread == 0

    def test_one_that_is_larger_than_all_room_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox_module, "MAX_UNREAD", 10)
        rest = Rest()
        rest.put(note(1), 5)
        rest.put(note(2), 100)
        assert taken(rest) == [Event("gap", {"dropped": 1}), note(2)]

    def test_events_without_a_size_are_bounded_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox_module, "MAX_UNREAD", 2 * EVENT_OVERHEAD)
        rest = Rest()
        # Of `gap` a server can make as many as it likes, by leaving numbers out.
        for number in range(100):
            rest.put(note(number))
        assert taken(rest) == [Event("gap", {"dropped": 96}), *map(note, range(96, 100))]
