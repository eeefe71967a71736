"""What a turn asks the person, and whether an answer fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from . import envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping


class Waiter(Protocol):
    """Where a callback waits for one value; a future of the loop."""

    def set_result(self, value: Any, /) -> None: ...
    def cancel(self) -> bool: ...
    def done(self) -> bool: ...
    def __await__(self) -> Generator[Any, None, Any]: ...


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


#: The types of JSON (RFC 8259) by the names that JSON Schema gives them. True and False are no numbers.
_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


class Question:
    """An open question. The callback waits at `waiter`.

    Raises `TypeError` for what JSON cannot hold, and `ValueError` for a schema that no answer fits.
    """

    __slots__ = ("_choices", "_kinds", "call_id", "data", "waiter")

    def __init__(self, call_id: str, message: str, schema: Mapping[str, Any], waiter: Waiter) -> None:
        self.call_id = call_id
        self.waiter = waiter
        #: As the client is told. Answers are judged by this, whatever becomes of the application's own objects.
        self.data = _as_json({"call_id": call_id, "message": message, "schema": schema})
        schema = self.data["schema"]
        if not isinstance(schema, dict):
            raise TypeError(f"the schema of a question is an object, not {type(schema).__name__}")
        kinds = schema.get("type", list(_TYPES))
        self._kinds = kinds if isinstance(kinds, list) else [kinds]
        if not self._kinds or not all(isinstance(kind, str) and kind in _TYPES for kind in self._kinds):
            raise ValueError(f"the type of an answer is one of {', '.join(_TYPES)}, or a list of them, not {kinds!r}")
        self._choices = schema.get("enum")
        if "enum" in schema and not (self._choices and isinstance(self._choices, list)):
            raise ValueError(f"the enum of an answer lists what may be chosen, at least one, not {self._choices!r}")

    def misfit(self, value: Any) -> str | None:
        """Why `value` is no answer, by the `type` and the `enum` of the schema; None where it is one.

        What else a schema may say is for the application to judge: a form needs it, safety does not.
        """
        if not any(_TYPES[kind](value) for kind in self._kinds):
            return f"the answer must be of type {' or '.join(self._kinds)}"
        if self._choices is not None and not any(_same(value, choice) for choice in self._choices):
            return "the answer must be one of the choices"
        return None


def _as_json(asked: dict[str, Any]) -> dict[str, Any]:
    # No deeper than it may stand in a `history`.
    payload = envelope.encode_event("ask", {"active": {"asks": [asked]}}, "")
    copy: dict[str, Any] = envelope.decode_value(payload)["data"]["active"]["asks"][0]
    return copy


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON: True is not 1, but 1.0 is."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)
