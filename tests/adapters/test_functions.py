"""What a model is told of a function, and what becomes of what it gives."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import pydantic
import pytest

from wsserver import ConfigError
from wsserver.adapters.functions import ArgumentsError, Callee, Function, callees, jsonable

TURN: Any = object()


class Place(pydantic.BaseModel):
    x: int


def look(
    city: str,
    unit: Literal["C", "F"] = "C",
    *rest: str,
    days: Annotated[int, pydantic.Field(description="how many", le=7)] = 1,
    place: Place | None = None,
    schema: int = 1,
    _under: int = 2,
    **more: Any,
) -> dict[str, Any]:
    """Looks out of the window."""
    return locals()


def call(function: Any, arguments: str) -> Any:
    return asyncio.run(Callee("f", function)(arguments, TURN))


def parameters(function: Any) -> Any:
    return Callee("f", function).tool["function"]["parameters"]  # type: ignore[index]


class TestWhatItIsTold:
    def test_a_signature(self) -> None:
        told: Any = Callee("look", look).tool
        assert told["type"] == "function"
        assert (told["function"]["name"], told["function"]["description"]) == ("look", "Looks out of the window.")
        schema = told["function"]["parameters"]
        assert (schema["type"], schema["required"], schema["additionalProperties"]) == ("object", ["city"], False)
        assert list(schema["properties"]) == ["city", "unit", "days", "place", "schema", "_under"]
        assert schema["properties"]["unit"].items() >= {"enum": ["C", "F"], "default": "C"}.items()
        assert schema["properties"]["days"]["description"] == "how many"
        assert schema["$defs"]["Place"]["required"] == ["x"]

    def test_what_is_said_of_it_counts(self) -> None:
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        given = Function(look, description="Better.", parameters=schema, message="looking …")
        callee = callees({"look": given})["look"]
        assert callee.tool["function"] == {"name": "look", "description": "Better.", "parameters": schema}
        assert callee.message == "looking …"

    def test_what_a_partial_has_set_is_not_the_models(self) -> None:
        mine = partial(look, "Rome", schema=9)
        assert list(parameters(mine)["properties"]) == ["unit", "days", "place", "_under"]
        assert Callee("f", mine).tool["function"]["description"] == "Looks out of the window."  # type: ignore[index]
        assert call(mine, '{"unit":"F"}').items() >= {"city": "Rome", "schema": 9, "unit": "F"}.items()
        with pytest.raises(ArgumentsError, match="schema: Extra inputs are not permitted"):
            call(mine, '{"schema":1}')

    def test_no_hints_and_no_docstring(self) -> None:
        assert Callee("f", lambda a: a).tool["function"]["description"] == ""  # type: ignore[index]
        assert call(lambda a: a, '{"a":[1]}') == [1]

    @pytest.mark.parametrize("function", [len, max, lambda a, /: a])
    def test_what_cannot_be_told(self, function: Any) -> None:
        with pytest.raises(ConfigError, match=r"the tool 'f' does not say what it takes .* Function\(f, parameters="):
            Callee("f", function)

    def test_hints_that_nothing_is_known_of(self) -> None:
        def strange(a: asyncio.Task[Any]) -> None:
            """Takes what JSON is not."""

        def missing(a: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
            """Takes what is not there."""

        for function in (strange, missing):
            with pytest.raises(ConfigError, match="does not say what it takes"):
                Callee("f", function)


class TestCall:
    def test_what_it_gives_is_converted(self) -> None:
        given = call(look, '{"city":"Rome","days":"3","place":{"x":1},"_under":5}')
        assert given == {
            "city": "Rome",
            "unit": "C",
            "rest": (),
            "days": 3,
            "place": Place(x=1),
            "schema": 1,
            "_under": 5,
            "more": {},
        }

    @pytest.mark.parametrize(
        "arguments, problem",
        [
            ('{"city":1}', "city: Input should be a valid string"),
            ('{"city":"Rome","days":8}', "days: Input should be less than or equal to 7"),
            ('{"city":"Rome","place":{}}', "place.x: Field required"),
            ('{"city":"Rome","more":1}', "more: Extra inputs are not permitted"),
            ("[1]", "Input should be an object"),
            ('{"city', "Invalid JSON"),
            ("", "city: Field required"),
        ],
    )
    def test_what_it_does_not_take(self, arguments: str, problem: str) -> None:
        with pytest.raises(ArgumentsError) as caught:
            call(look, arguments)
        assert str(caught.value).startswith(problem)
        assert "https://" not in str(caught.value)

    def test_with_a_schema_of_its_own(self) -> None:
        function = Function(lambda **values: values, parameters={"type": "object"})
        assert call(function, '{"city":1}') == {"city": 1}
        assert call(function, "") == {}
        for arguments, problem in [("{", "are not JSON"), ("[]", "are not a JSON object")]:
            with pytest.raises(ArgumentsError, match=problem):
                call(function, arguments)

    def test_async_ones(self) -> None:
        class Looking:
            async def __call__(self, city: str) -> str:
                return city

        async def plain(city: str) -> str:
            return city

        for function in (plain, Looking(), Looking().__call__, partial(plain)):
            assert call(function, '{"city":"Rome"}') == "Rome"

    def test_the_turn(self) -> None:
        def mine(turn: Any, city: str) -> Any:
            return turn, city

        assert list(parameters(mine)["properties"]) == ["city"]
        assert call(mine, '{"city":"Rome"}') == (TURN, "Rome")
        assert call(Function(mine, parameters={}), '{"city":"Rome","turn":"mine"}') == (TURN, "Rome")
        assert call(partial(mine, turn=7), '{"city":"Rome"}') == (7, "Rome")
        with pytest.raises(ArgumentsError, match="turn: Extra inputs are not permitted"):
            call(mine, '{"city":"Rome","turn":"mine"}')
        with pytest.raises(TypeError):
            call(Function(max, parameters={}), "{}")


@dataclass
class Weather:
    day: datetime.date
    degrees: float


def test_results() -> None:
    result = {1: Weather(datetime.date(2026, 7, 1), float("nan")), "place": Place(x=1), "set": {1}, "text": "x"}
    assert jsonable(result) == {
        "1": {"day": "2026-07-01", "degrees": None},
        "place": {"x": 1},
        "set": [1],
        "text": "x",
    }
    assert isinstance(jsonable(object()), str)
