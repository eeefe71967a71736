"""What a turn asks the person, and whether an answer fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping


class Waiter(Protocol):
    """Where a callback waits for one value; a future of the loop."""

    def set_result(self, value: Any, /) -> None: ...
    def cancel(self) -> bool: ...
    def done(self) -> bool: ...
    def __await__(self) -> Generator[Any, None, Any]: ...


#: The types of JSON (RFC 8259) by the names that JSON Schema gives them. True and False are no numbers.
_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": lambda value: _is_number(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Question:
    """An open question. The callback waits at `waiter`."""

    __slots__ = ("call_id", "message", "schema", "waiter")

    def __init__(self, call_id: str, message: str, schema: Mapping[str, Any], waiter: Waiter) -> None:
        self.call_id = call_id
        self.message = message
        self.schema = schema
        self.waiter = waiter

    def data(self) -> dict[str, Any]:
        """As the client is told."""
        return {"call_id": self.call_id, "message": self.message, "schema": self.schema}

    def misfit(self, value: Any) -> str | None:
        """Why `value` is no answer, by the `type` and the `enum` of the schema; None where it is one.

        What else a schema may say is for the application to judge: a form needs it, safety does not.
        """
        kinds = self.schema.get("type")
        names = [kinds] if isinstance(kinds, str) else kinds
        if isinstance(names, list | tuple) and not any(_TYPES[name](value) for name in names if name in _TYPES):
            return f"the answer must be of type {' or '.join(map(str, names))}"
        choices = self.schema.get("enum")
        if isinstance(choices, list | tuple) and not any(_same(value, choice) for choice in choices):
            return "the answer must be one of the choices"
        return None


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON: True is not 1."""
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)
