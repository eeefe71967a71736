"""A step of the work that a callback shows while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from .events import Tool

if TYPE_CHECKING:
    from types import TracebackType

    from .turn import Turn


def new_call_id() -> str:
    """A name for one call, never used before."""
    return f"c_{uuid4().hex[:16]}"


class ToolCall:
    """A running step. Made by `Turn.tool`; leaving its block ends it: failed if by an exception."""

    __slots__ = ("_ended", "_input", "_message", "_turn", "call_id", "name")

    def __init__(self, turn: Turn, name: str, message: str | None, input: Any) -> None:
        self.call_id = new_call_id()
        self.name = name
        self._turn = turn
        self._message = message
        self._input = input
        self._ended = False

    async def __aenter__(self) -> Self:
        await self._turn.send(Tool(self.call_id, self.name, "started", self._message, input=self._input))
        return self

    async def progress(self, message: str) -> None:
        """Says how far the step is; nothing after its end."""
        if not self._ended:
            await self._turn.send(Tool(self.call_id, self.name, "progress", message))

    def finish(self, message: str | None = None, *, output: Any = None) -> None:
        """The step is done; `output` is any JSON value. Only the first end counts."""
        self._end(Tool(self.call_id, self.name, "finished", message, output=output))

    def fail(self, error: str) -> None:
        """The step failed, in words for the person. Only the first end counts."""
        self._end(Tool(self.call_id, self.name, "failed", error=error))

    def _end(self, event: Tool) -> None:
        if not self._ended:
            self._turn.publish(event)
            self._ended = True

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is None:
            self.finish()
        else:
            # What the exception says may be an internal: it goes to the log of the server, not to the person.
            self.fail(f"{self.name} failed")
