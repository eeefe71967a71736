"""What is typed in answer to a question, and what it means."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.client.reply import choices, parse, wanted

COLOURS = {"enum": ["red", "Green", 3, None, True, "1"]}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({}, "anything", "anything"),
        ({"type": "string"}, "12", "12"),
        ({"type": "unheard of"}, "x", "x"),
        ({"type": 5}, "x", "x"),
        ({"type": "boolean"}, "y", True),
        ({"type": "boolean"}, "Yes", True),
        ({"type": "boolean"}, "是", True),
        ({"type": "boolean"}, "N", False),
        ({"type": "boolean"}, "false", False),
        ({"type": "integer"}, "-12", -12),
        ({"type": "number"}, "12", 12),
        ({"type": "number"}, "1.5e3", 1500.0),
        ({"type": "null"}, "null", None),
        ({"type": "array"}, "[1, 2]", [1, 2]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"type": ["string", "integer"]}, "7", 7),
        ({"type": ["string", "integer"]}, "x", "x"),
        ({"type": ["boolean", "null"]}, "none", None),
        (COLOURS, "red", "red"),
        (COLOURS, "GREEN", "Green"),
        (COLOURS, "3", 3),  # the text of a choice goes before its number
        (COLOURS, "1", "1"),
        (COLOURS, "2", "Green"),
        (COLOURS, "null", None),
        (COLOURS, "5", True),
    ],
)
def test_what_is_meant(schema: dict[str, Any], text: str, value: Any) -> None:
    meant = parse(schema, text)
    assert meant == value
    assert type(meant) is type(value)


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        ({"type": "boolean"}, "perhaps", "yes or no"),
        ({"type": "integer"}, "1.5", "a whole number"),
        ({"type": "number"}, "nan", "a number"),
        ({"type": "number"}, "much", "a number"),
        ({"type": "array"}, "{}", "a JSON list"),
        ({"type": "object"}, "{", "a JSON object"),
        ({"type": ["integer", "null"]}, "x", "a whole number or null"),
        (COLOURS, "0", "a number of the list, or its text"),
        (COLOURS, "7", "a number of the list, or its text"),
        (COLOURS, "²", "a number of the list, or its text"),
        ({"enum": []}, "x", ""),
    ],
)
def test_what_does_not_fit_says_what_does(schema: dict[str, Any], text: str, expected: str) -> None:
    assert wanted(schema) == expected
    if expected:
        with pytest.raises(ValueError, match=f"^please answer with {expected}$"):
            parse(schema, text)


def test_text_needs_no_words() -> None:
    assert wanted({}) == wanted({"type": "string"}) == ""


def test_choices_are_shown_as_they_are_written() -> None:
    assert choices(COLOURS) == ["red", "Green", "3", "null", "true", "1"]
    assert choices({"enum": "no list"}) == []
