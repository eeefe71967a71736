"""What the application sees of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.chat.person import Person, person
from wsserver.chat.view import SessionView

if TYPE_CHECKING:
    from wsserver.chat.turn import Turn


def test_who_and_which(somebody: Person) -> None:
    view = SessionView(somebody.session)
    assert (view.id, view.user) == (somebody.session.id, "ada")
    assert repr(view) == repr(somebody.session)
    assert SessionView(person().session).user is None


def test_the_state_is_what_the_session_keeps(somebody: Person, turn: Turn) -> None:
    turn.session.state["step"] = 1
    turn.session.state["step"] += 1
    assert SessionView(somebody.session).state == {"step": 2}
    somebody.session.state.save()
    turn.session.state = {"step": 3}
    assert somebody.session.state.saved == b'{"step":2}'
    somebody.session.state.save()
    assert somebody.session.state.saved == b'{"step":3}'


def test_the_history_is_a_copy_until_it_is_set() -> None:
    somebody = person()
    view = SessionView(somebody.session)
    view.history.append({"role": "user", "content": "lost"})
    assert view.history == []
    view.history = [{"role": "user", "content": "from before"}]
    turn = somebody.asks("hello")
    assert [item["content"] for item in turn.history] == ["from before", "hello"]
    somebody.session.tell_history()
    assert [item["turn"] for item in somebody.told()[0]["data"]["items"]] == [0, 1]


def test_what_is_no_history(somebody: Person) -> None:
    view, wrong = SessionView(somebody.session), ["hello"]
    things: Any = wrong
    with pytest.raises(TypeError, match="an item of the history is a mapping, not str"):
        view.history = things
