"""A graph's interrupt as a question to the person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .functions import jsonable

if TYPE_CHECKING:
    from ..chat.turn import Turn


async def ask(turn: Turn, interrupt: Any) -> Any:
    """Asks, and returns the answer: what `interrupt()` returns in the graph.

    `interrupt("Shall I?")` asks with this text, `interrupt({"message": …, "schema": …})` with a JSON Schema too, as a
    `response_schema` does. Any other value is shown as JSON.
    """
    value = interrupt.value
    schema = getattr(interrupt, "response_schema", None)
    if isinstance(value, Mapping) and isinstance(value.get("message"), str):
        schema = value.get("schema") if schema is None else schema
        value = value["message"]
    if not isinstance(value, str):
        value = json.dumps(jsonable(value), ensure_ascii=False)
    return await turn.ask(value, schema if isinstance(schema, Mapping) else None)
