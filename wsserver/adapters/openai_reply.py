"""One answer of a model, put together from the chunks of its stream. Knows the format, not the client."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

#: What one reply may hold, in characters, and how many calls: of an endpoint that does not end, too.
MAX_SIZE = 2**22
MAX_CALLS = 128


@dataclass
class ToolCall:
    """A function that the model wants called; `arguments` are JSON as far as it can write that."""

    id: str
    name: str = ""
    arguments: str = ""

    def input(self) -> Any:
        """The arguments to be shown: as JSON values if they are JSON, else as text."""
        try:
            return json.loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            return self.arguments


class Reply:
    """What came so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.calls: list[ToolCall] = []
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self._size = 0
        self.thinking = False  # it says that it thinks, and has not said anything else yet
        self._by_index: dict[int, ToolCall] = {}

    @property
    def begun(self) -> bool:
        """Whether anything came that counts."""
        return bool(self.text or self.calls)

    @property
    def is_too_much(self) -> bool:
        """Whether no more of it should be taken."""
        return self._size > MAX_SIZE or len(self.calls) > MAX_CALLS

    def add(self, chunk: Any) -> str:
        """Takes in a `ChatCompletionChunk`; returns the text to show, often none."""
        if chunk.usage is not None:
            # Some endpoints count up in every chunk: the last one is right.
            self.usage = chunk.usage.model_dump(exclude_none=True)
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        delta = choice.delta
        for part in (delta and delta.tool_calls) or ():
            self._add_call(part)
        text = str((delta and (delta.content or getattr(delta, "refusal", None))) or "")
        if text:
            self.text.append(text)
            self._size += len(text)
        self.thinking = not self.begun and bool(
            self.thinking or getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        )
        return text

    def message(self) -> dict[str, Any]:
        """What the model said, to be told to it again before the results of its calls."""
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.calls
        ]
        return {"role": "assistant", "content": "".join(self.text) or None, "tool_calls": calls}

    def _add_call(self, part: Any) -> None:
        call = self._by_index.get(part.index)
        # Some endpoints give every call the same index, and each at once.
        if call is None or (part.id and part.id != call.id):
            call = self._by_index[part.index] = ToolCall(part.id or f"call_{len(self.calls)}")
            self.calls.append(call)
        if part.function is not None:
            name, arguments = part.function.name or "", part.function.arguments or ""
            call.name += name
            call.arguments += arguments
            self._size += len(name) + len(arguments)


def add_usage(total: dict[str, Any], usage: dict[str, Any]) -> None:
    """Adds the numbers of one reply to those of the replies before, level by level."""
    for name, value in usage.items():
        if isinstance(value, dict):
            add_usage(total.setdefault(name, {}), value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            total[name] = total.get(name, 0) + value
