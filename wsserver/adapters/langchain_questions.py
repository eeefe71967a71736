"""A graph's interrupt as a question to the person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .functions import jsonable

if TYPE_CHECKING:
    from ..chat.turn import Turn

#: What a person can decide with one word about a tool that `HumanInTheLoopMiddleware` holds back.
_DECISIONS = ("approve", "reject")


async def ask(turn: Turn, interrupt: Any) -> Any:
    """Asks, and returns the answer: what `interrupt()` returns in the graph.

    `interrupt("Shall I?")` asks with this text, `interrupt({"message": …, "schema": …})` with a JSON Schema too, as a
    `response_schema` does. Where LangChain's `HumanInTheLoopMiddleware` holds tools back, each is asked for, and the
    answer is "approve" or "reject" as far as it allows them. Any other value is shown as JSON.
    """
    value = interrupt.value
    schema = getattr(interrupt, "response_schema", None)
    if isinstance(value, Mapping):
        if "action_requests" in value:
            return await _decide(turn, value)
        schema = value.get("schema") if schema is None else schema
        value = next((value[name] for name in ("message", "description") if isinstance(value.get(name), str)), value)
    if not isinstance(value, str):
        value = json.dumps(jsonable(value), ensure_ascii=False)
    return await turn.ask(value, schema if isinstance(schema, Mapping) else None)


async def _decide(turn: Turn, value: Mapping[str, Any]) -> dict[str, Any]:
    allowed = {review["action_name"]: review["allowed_decisions"] for review in value.get("review_configs", ())}
    decisions = []
    for request in value["action_requests"]:
        name, given = request["name"], jsonable(request["args"])
        message = request.get("description") or f"{name} {json.dumps(given, ensure_ascii=False)}"
        choices = [one for one in _DECISIONS if one in allowed.get(name, _DECISIONS)]
        decisions.append({"type": await turn.ask(message, {"enum": choices} if choices else None)})
    return {"decisions": decisions}
