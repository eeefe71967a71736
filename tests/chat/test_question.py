"""What a turn asks the person, and whether an answer fits."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from tests.chat.person import Answer
from wsserver.chat.question import Question


class Colour(Enum):
    RED = "red"
    GREEN = "green"


def question(schema: Any) -> Question:
    return Question("c_1", "Shall I?", schema, Answer())


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


TYPES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "integer": [0, -7, 1.0, 2**64 - 1, 1e300],
    "number": [0, -7, 1.0, 2**64 - 1, 1e300, 0.5],
    "string": ["", "x", "1"],
    "array": [[], [1]],
    "object": [{}, {"x": 1}],
}


class TestTypes:
    @pytest.mark.parametrize("kind", TYPES)
    @pytest.mark.parametrize("value", [value for values in TYPES.values() for value in values], ids=repr)
    def test_each_takes_its_own_and_nothing_else(self, kind: str, value: Any) -> None:
        fits = any(value == own and type(value) is type(own) for own in TYPES[kind])
        assert question({"type": kind}).misfit(value) == (None if fits else f"the answer must be of type {kind}")

    def test_several(self) -> None:
        asked = question({"type": ["boolean", "null"]})
        assert asked.misfit(True) is asked.misfit(None) is None
        assert asked.misfit("yes") == "the answer must be of type boolean or null"

    @pytest.mark.parametrize("value", [None, True, 0, 0.5, "", [], {}])
    def test_without_one_anything_fits(self, value: Any) -> None:
        assert question({}).misfit(value) is None
        assert question({"title": "Complain", "minimum": 3}).misfit(value) is None

    @pytest.mark.parametrize("kind", ["bool", "", None, 7, [], ["boolean", "date"], [["boolean"]], {"x": 1}])
    def test_one_that_no_answer_fits_is_an_error_of_the_callback(self, kind: Any) -> None:
        with pytest.raises(ValueError, match="the type of an answer is one of null, boolean, integer, .*, not "):
            question({"type": kind})


class TestChoices:
    def test_one_of_them(self) -> None:
        asked = question({"enum": ["red", "green", 1]})
        assert [asked.misfit(value) for value in ("red", "green", 1, 1.0)] == [None] * 4
        others: list[Any] = ["blue", None, "1", True, [], {}]
        assert {asked.misfit(value) for value in others} == {"the answer must be one of the choices"}

    @pytest.mark.parametrize(
        "choice, other",
        [(1, True), (True, 1), (0, False), ([1], [True]), ({"x": [0]}, {"x": [False]}), (None, False), ("", None)]
        + [([1], [1, 1]), ([], {}), ({"x": 1}, {"y": 1}), ({"x": 1}, {"x": 1, "y": 1}), ("a", ["a"])],
    )
    def test_equal_is_what_json_calls_equal(self, choice: Any, other: Any) -> None:
        asked = question({"enum": [choice]})
        assert asked.misfit(choice) is None
        assert asked.misfit(other) == "the answer must be one of the choices"

    def test_of_the_right_type(self) -> None:
        asked = question({"type": "integer", "enum": [1, "x"]})
        assert asked.misfit("x") == "the answer must be of type integer"
        assert asked.misfit(2) == "the answer must be one of the choices"

    def test_as_the_client_was_told_them(self) -> None:
        asked = question({"enum": (Colour.RED, Colour.GREEN)})
        assert asked.data["schema"] == {"enum": ["red", "green"]}
        assert asked.misfit("red") is None

    @pytest.mark.parametrize("enum", [None, [], "red", {"red": 1}, 7])
    def test_none_to_choose_from_is_an_error_of_the_callback(self, enum: Any) -> None:
        with pytest.raises(ValueError, match="the enum of an answer lists what may be chosen, at least one, not "):
            question({"enum": enum})


class TestData:
    def test_what_the_client_is_told(self) -> None:
        schema = {"type": "boolean"}
        assert question(schema).data == {"call_id": "c_1", "message": "Shall I?", "schema": schema}

    def test_stays_what_it_was(self) -> None:
        schema: dict[str, Any] = {"enum": ["red"]}
        asked = question(schema)
        schema["enum"].append({1, 2})
        schema["type"] = 7
        assert asked.data["schema"] == {"enum": ["red"]}
        assert asked.misfit("red") is None

    @pytest.mark.parametrize("schema", [{"enum": {1}}, {"x": object()}, {1: 2}, {"x": "\ud83d"}, {"x": nested(249)}])
    def test_what_json_cannot_hold(self, schema: Any) -> None:
        with pytest.raises(TypeError, match="the data of the event 'ask' cannot be written as JSON"):
            question(schema)

    @pytest.mark.parametrize("schema", ["boolean", ["boolean"], True, 7, None])
    def test_a_schema_is_an_object(self, schema: Any) -> None:
        with pytest.raises(TypeError, match="the schema of a question is an object, not "):
            question(schema)
