"""What a turn may yield: names and data, and what cannot be made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from types import MappingProxyType
from typing import Any

import pytest

from wsserver.chat.events import RESERVED, Custom, Reset, Source, Status, Token, Tool


@pytest.mark.parametrize(
    "item, event, data",
    [
        (Token("x"), "token", {"value": "x"}),
        (Tool("c_1", "orders"), "tool", {"call_id": "c_1", "name": "orders", "status": "started"}),
        (
            Tool("c_1", "orders", "finished", "one order", input={"user": 7}, output=[], error="late"),
            "tool",
            {
                "call_id": "c_1",
                "name": "orders",
                "status": "finished",
                "message": "one order",
                "input": {"user": 7},
                "output": [],
                "error": "late",
            },
        ),
        (Source(), "source", {}),
        (
            Source("Terms", "14 days", "https://shop.example/terms", 0.5, {"page": 3}),
            "source",
            {"title": "Terms", "text": "14 days", "url": "https://shop.example/terms", "score": 0.5, "page": 3},
        ),
        (Source(score=0.0), "source", {"score": 0.0}),
        (Source("Terms", extra={"title": "other", "url": "u"}), "source", {"title": "Terms", "url": "u"}),
        (Status("Thinking…"), "status", {"message": "Thinking…"}),
        (Reset(), "reset", {"channel": "answer"}),
        (Reset("sources"), "reset", {"channel": "sources"}),
        (Custom("weather"), "weather", {}),
        (Custom("weather", MappingProxyType({"sun": True})), "weather", {"sun": True}),
    ],
    ids=repr,
)
def test_items(item: Token | Tool | Source | Status | Reset | Custom, event: str, data: dict[str, Any]) -> None:
    assert (item.event, item.data()) == (event, data)


@pytest.mark.parametrize("item", [Token("x"), Tool("c", "n"), Source(), Status(""), Reset(), Custom("n")])
def test_items_are_values(item: Any) -> None:
    with pytest.raises((FrozenInstanceError, TypeError)):
        item.value = "y"
    assert item == type(item)(*(getattr(item, name) for name in item.__slots__))


@pytest.mark.parametrize("value", [None, 5, b"x", ["x"]])
def test_a_token_is_text(value: Any) -> None:
    with pytest.raises(TypeError, match=f"a token is text, not {type(value).__name__}"):
        Token(value)


@pytest.mark.parametrize("name", ["", *sorted(RESERVED)])
def test_an_event_of_ones_own_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ValueError, match=f"needs a name that the protocol does not use, not {name!r}"):
        Custom(name)


@pytest.mark.parametrize("name", [None, 5, b"x", ["x"], True])
def test_and_the_name_is_text(name: Any) -> None:
    with pytest.raises(ValueError, match="needs a name that the protocol does not use, not "):
        Custom(name)


def test_the_names_that_the_protocol_uses() -> None:
    server = "session ack start token tool source ask status reset complete error history replayed drain auth_expiring"
    client = "message stop answer history auth ping end"
    assert {*server.split(), "pong", *client.split()} == RESERVED


def test_no_event_of_ones_own_ends_the_turn() -> None:
    with pytest.raises(ValueError, match="'final' ends a turn"):
        Custom("x", {"final": True})
    with pytest.raises(ValueError, match="'final' ends a turn"):
        Source(extra={"final": False})


def test_a_reset_has_one_of_two_channels() -> None:
    channel: Any = "everything"
    with pytest.raises(ValueError, match="voids 'answer' or 'sources', not 'everything'"):
        Reset(channel)
