"""The JSON object that an application keeps in a session."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from wsserver.chat.state import State


def test_is_empty_at_first() -> None:
    state = State(100)
    assert state.open() == {}
    state.save()
    assert state.saved == b"{}"


def test_is_changed_in_place_until_it_is_saved() -> None:
    state = State(100)
    state.open()["seen"] = [1]
    state.open()["seen"].append(2)
    assert (state.open(), state.saved) == ({"seen": [1, 2]}, b"{}")
    state.save()
    assert state.saved == b'{"seen":[1,2]}'
    assert state.open() == {"seen": [1, 2]}


def test_what_is_changed_after_it_was_saved_is_another_object() -> None:
    state = State(100)
    old = state.open()
    state.save()
    old["late"] = True
    assert state.open() == {}


def test_saving_what_nobody_opened_changes_nothing() -> None:
    state = State(100)
    state.replace({"x": 1})
    state.save()
    state.save()
    assert state.saved == b'{"x":1}'


def test_another_object_instead() -> None:
    state = State(100)
    state.open()["old"] = 1
    given = {"new": 1}
    state.replace(MappingProxyType(given))
    given["later"] = 2
    assert state.open() == {"new": 1}
    state.save()
    assert state.saved == b'{"new":1}'


@pytest.mark.parametrize("value", [7, None, "text", [1]])
def test_what_is_no_object(value: Any) -> None:
    state = State(100)
    with pytest.raises((TypeError, ValueError)):
        state.replace(value)
    assert state.open() == {}


@pytest.mark.parametrize("value", [{"x": object()}, {1: 2}, {"x": "\ud83d"}, {"x": 2**64}, {"x": {1, 2}}])
def test_what_json_cannot_hold_is_not_kept(value: Any) -> None:
    state = State(100)
    state.replace({"before": 1})
    state.save()
    state.replace(value)
    with pytest.raises(TypeError, match="session.state holds what JSON cannot: "):
        state.save()
    assert state.open() == {"before": 1}
    state.save()


def test_a_state_that_holds_itself_is_not_kept() -> None:
    state = State(100)
    state.open()["me"] = state.open()
    with pytest.raises(TypeError, match="session.state holds what JSON cannot: "):
        state.save()
    assert state.open() == {}


def test_it_is_bounded_in_bytes() -> None:
    state = State(20)
    state.replace({"x": "界" * 4})
    state.save()
    assert len(state.saved) == 20
    state.replace({"x": "界" * 4 + "x"})
    with pytest.raises(
        ValueError, match=r"session.state takes 21 bytes, more than --max-state allows \(20\): keep less"
    ):
        state.save()
    assert state.open() == {"x": "界" * 4}


def test_a_limit_of_0_lets_nothing_be_kept() -> None:
    state = State(0)
    state.open()
    state.save()
    state.open()["x"] = 1
    with pytest.raises(ValueError, match="session.state takes 7 bytes"):
        state.save()
    assert state.saved == b"{}"
