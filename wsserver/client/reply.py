"""What a person types in answer to a question of a turn: text → a value for its JSON Schema."""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_YES = frozenset(("y", "yes", "true", "1", "是", "好", "对"))
_NO = frozenset(("n", "no", "false", "0", "否", "不", "不是"))


def choices(schema: Mapping[str, Any]) -> list[str]:
    """The answers that are allowed, in words; empty where they cannot be listed."""
    allowed = schema.get("enum")
    return [_words(choice) for choice in allowed] if isinstance(allowed, list) else []


def wanted(schema: Mapping[str, Any]) -> str:
    """What kind of answer is expected, in words; empty for text."""
    if choices(schema):
        return "a number of the list, or its text"
    kinds = [_KINDS[kind][0] for kind in _kinds(schema) if kind in _KINDS]
    return " or ".join(kinds) if kinds != [_TEXT] else ""


def parse(schema: Mapping[str, Any], text: str) -> Any:
    """The value that `text` means. Raises `ValueError` that says what is expected."""
    listed = choices(schema)
    if listed:
        folded = [choice.casefold() for choice in listed]
        if text.casefold() in folded:
            return schema["enum"][folded.index(text.casefold())]
        if text.isascii() and text.isdigit() and 0 < int(text) <= len(listed):
            return schema["enum"][int(text) - 1]
        raise ValueError(f"please answer with {wanted(schema)}")
    kinds = [kind for kind in _kinds(schema) if kind in _KINDS]
    for kind in kinds:
        try:
            return _KINDS[kind][1](text)
        except ValueError:
            continue
    if kinds:
        raise ValueError(f"please answer with {wanted(schema)}")
    return text


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    # Text fits everything: it comes last.
    return sorted(map(str, names), key="string".__eq__)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _boolean(text: str) -> bool:
    word = text.casefold()
    if word in _YES | _NO:
        return word in _YES
    raise ValueError(text)


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return int(number) if number.is_integer() and text.lstrip("+-").isdigit() else number


def _null(text: str) -> None:
    if text.casefold() not in ("null", "none"):
        raise ValueError(text)


def _json(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(text)
        return value

    return read


_TEXT = "text"
#: By the names of JSON Schema: in words, and how to read it.
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "boolean": ("yes or no", _boolean),
    "integer": ("a whole number", int),
    "number": ("a number", _number),
    "null": ("null", _null),
    "array": ("a JSON list", _json(list)),
    "object": ("a JSON object", _json(dict)),
    "string": (_TEXT, str),
}
