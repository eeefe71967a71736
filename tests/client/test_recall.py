"""What the history tells someone who was shown the beginning of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.client import Event
from wsserver.client.inbox import Question
from wsserver.client.recall import recall

TURN = 5


def question(shown: str, *calls: str) -> Question:
    asked = Question("c1")
    asked.turn = TURN
    asked.put(Event("token", {"value": shown}))
    for call_id in calls:
        asked.put(Event("ask", {"call_id": call_id}))
    return asked


def active(text: str, **others: Any) -> dict[str, Any]:
    return {"items": [said("user", "hi", "completed")], "active": {"turn": TURN, "text": text, **others}}


def said(role: str, content: str, status: str, turn: int = TURN, **others: Any) -> dict[str, Any]:
    return {"turn": turn, "role": role, "content": content, "status": status, **others}


def over(text: str, status: str, **others: Any) -> dict[str, Any]:
    return {"items": [said("user", "hi", "completed"), said("assistant", text, status, **others)], "active": None}


def events(
    history: dict[str, Any], asked: Question, *, ending: bool = False
) -> list[tuple[str, dict[str, Any]]] | None:
    told = recall(history, asked, ending=ending)
    if told is None:
        return None
    assert {event.turn for event in told} <= {TURN}
    return [(event.name, event.data) for event in told]


RESET = ("reset", {"channel": "answer"})


def token(text: str, **others: Any) -> tuple[str, dict[str, Any]]:
    return ("token", {"value": text, **others})


@pytest.mark.parametrize(
    ("shown", "text", "told"),
    [
        ("", "", []),
        ("ab", "ab", []),
        ("ab", "abcd", [token("cd")]),
        ("", "abcd", [token("abcd")]),
        ("ab", "xy", [RESET, token("xy")]),  # it was reset in the hole
        ("ab", "a", [RESET, token("a")]),
        ("ab", "", [RESET, token("")]),
    ],
)
def test_the_text_is_right_in_the_end(shown: str, text: str, told: list[Any]) -> None:
    assert events(active(text), question(shown)) == told
    complete = ("complete", {"status": "completed", "final": True})
    assert events(over(text, "completed"), question(shown)) == [*told, complete]
    assert events(over(text, "completed"), question(shown), ending=True) == told


@pytest.mark.parametrize(
    ("shown", "text", "told"),
    [
        ("a", "ab", [token("b", truncated=True)]),
        ("ab", "ab", [token("", truncated=True)]),
        ("abc", "ab", [token("", truncated=True)]),
        ("x", "ab", [RESET, token("ab", truncated=True)]),
    ],
)
def test_where_the_server_itself_has_forgotten_the_rest_it_says_so(shown: str, text: str, told: list[Any]) -> None:
    assert events(active(text, truncated=True), question(shown)) == told
    assert events(over(text, "completed", truncated=True), question(shown), ending=True) == told


@pytest.mark.parametrize("status", ["completed", "stopped", "interrupted"])
def test_how_it_ended(status: str) -> None:
    assert events(over("", status), question("")) == [("complete", {"status": status, "final": True})]


def test_what_an_application_brought_along_is_no_answer_of_this_session() -> None:
    history = over("ab", "completed")
    history["items"].insert(0, said("assistant", "long ago", "completed"))
    assert events(history, question("ab")) == [("complete", {"status": "completed", "final": True})]


def test_that_it_failed() -> None:
    told = recall(over("so f", "failed"), question(""))
    assert told is not None
    assert [event.name for event in told] == ["token", "error"]
    assert told[-1].final
    assert told[-1].data["code"] == "generation_failed"


def test_questions_that_are_open_and_were_not_seen() -> None:
    asks = [{"call_id": "k1", "message": "one?", "schema": {}}, {"call_id": "k2", "message": "two?"}]
    assert events(active("", asks=asks), question("", "k1")) == [("ask", {"call_id": "k2", "message": "two?"})]
    assert events(active("", asks=None), question("")) == []


def test_an_answer_that_waits_for_another_has_missed_nothing() -> None:
    assert events({"items": [], "active": {"turn": TURN - 1, "text": "x"}}, question("")) is None


def test_one_that_waits_while_nothing_is_active_has_missed_nothing() -> None:
    """The turn before it is over, and its callback still cleans up."""
    assert events({"items": [], "active": None, "waiting": [TURN]}, question("")) is None


def test_one_that_was_stopped_before_it_began_has_only_its_end() -> None:
    assert events({"items": [], "active": None}, question(""), ending=True) is None


@pytest.mark.parametrize(
    "history",
    [
        {"items": [], "active": None},
        {"active": None},
        {"items": [said("assistant", "later", "completed", TURN + 1)], "active": None},
        {"items": [], "active": {"turn": TURN + 1, "text": ""}},
        {"items": [said("user", "hi", "completed")], "active": None},
    ],
)
def test_what_is_not_remembered_has_an_end_that_says_so(history: dict[str, Any]) -> None:
    told = recall(history, question("ab"))
    assert told is not None
    assert [(event.name, event.final, event.data["code"]) for event in told] == [("error", True, "turn_lost")]


@pytest.mark.parametrize("nonsense", [7, "x", {}, [1, None], None])
def test_a_history_that_makes_no_sense_tells_nothing(nonsense: Any) -> None:
    history = {"items": nonsense, "active": {"turn": TURN, "text": "ab", "asks": nonsense}, "waiting": nonsense}
    assert events(history, question("a")) == [token("b")]
    told = events({**history, "active": nonsense}, question("a"))
    assert told is not None and told[0][1]["code"] == "turn_lost"
