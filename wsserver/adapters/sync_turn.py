"""A turn as a function without asyncio holds it, in a thread beside the loop.

What touches the session is done on the loop, in the task of the turn and in order: behind all that was shown before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from ..chat.events import Tool
from ..chat.tool import new_call_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from ..chat.events import Item, ToolStatus
    from ..chat.turn import Cause, Turn


class Bridge(Protocol):
    """From the thread to the task of the turn."""

    def put(self, item: Item) -> bool:
        """Shows an item, and waits while the reader is too far behind. False if the turn is over."""

    def call(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Awaits `work()` there, and returns or raises what it does; `asyncio.CancelledError` if the turn is over."""


class SyncTurn:
    """One message of the person and its answer, as `Turn` is; each method waits in its thread, and may be called from
    any thread that the function starts, as long as it runs.

    Once the turn is over, methods raise `asyncio.CancelledError`. What is in the way of an end, such as a long
    computation between two items, may look at `cause`.
    """

    def __init__(self, turn: Turn, bridge: Bridge) -> None:
        self.id = turn.id
        self.content = turn.content
        self.session = SyncSession(turn, bridge)
        self._turn = turn
        self._bridge = bridge

    def __repr__(self) -> str:
        return repr(self._turn)

    @property
    def cause(self) -> Cause | None:
        """Why the turn is being ended, None as long as it is not."""
        return self._turn.cause

    @property
    def usage(self) -> Mapping[str, Any] | None:
        """A JSON object that the final event carries, once it is set."""
        return self._turn.usage

    @usage.setter
    def usage(self, usage: Mapping[str, Any]) -> None:
        self._turn.usage = usage

    @property
    def history(self) -> list[dict[str, Any]]:
        """The conversation as the person was shown it, the message of this turn last; see `Turn.history`."""
        return self.session.history

    def send(self, item: Item) -> None:
        """Shows `item`, and waits while the reader is too far behind. The same as yielding it."""
        if not self._bridge.put(item):
            raise asyncio.CancelledError

    def tool(self, name: str, message: str | None = None, *, input: Any = None) -> SyncToolCall:
        """A step of the work, shown while it runs: `with turn.tool("orders", "Looking …") as tool:`."""
        return SyncToolCall(self._bridge, name, message, input)

    def ask(self, message: str, schema: Mapping[str, Any] | None = None) -> Any:
        """Shows a question and waits for the person's answer; see `Turn.ask`."""
        return self._bridge.call(lambda: self._turn.ask(message, schema))


class SyncSession:
    """One conversation, as `SessionView` is. Setting what it holds is for `on_open`."""

    def __init__(self, turn: Turn, bridge: Bridge) -> None:
        self.id = turn.session.id
        self.user = turn.session.user
        self._turn = turn
        self._bridge = bridge

    @property
    def state(self) -> dict[str, Any]:
        """An object of your own, saved at the end of each turn; see `SessionView.state`."""

        async def state() -> dict[str, Any]:
            return self._turn.session.state

        return cast("dict[str, Any]", self._bridge.call(state))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The conversation so far, oldest first; a copy."""

        async def history() -> list[dict[str, Any]]:
            return self._turn.history

        return cast("list[dict[str, Any]]", self._bridge.call(history))


class SyncToolCall:
    """A running step. Made by `SyncTurn.tool`; leaving its block ends it: failed if by an exception."""

    def __init__(self, bridge: Bridge, name: str, message: str | None, input: Any) -> None:
        self.call_id = new_call_id()
        self.name = name
        self._bridge = bridge
        self._message = message
        self._input = input
        self._ended = False

    def __enter__(self) -> Self:
        self._show("started", self._message, input=self._input)
        return self

    def progress(self, message: str) -> None:
        """Says how far the step is; nothing after its end."""
        if not self._ended:
            self._show("progress", message)

    def finish(self, message: str | None = None, *, output: Any = None) -> None:
        """The step is done; `output` is any JSON value. Only the first end counts."""
        self._end("finished", message, output=output)

    def fail(self, error: str) -> None:
        """The step failed, in words for the person. Only the first end counts."""
        self._end("failed", error=error)

    def _end(self, status: ToolStatus, message: str | None = None, **fields: Any) -> None:
        if not self._ended:
            self._ended = True
            self._show(status, message, **fields)

    def _show(self, status: ToolStatus, message: str | None = None, **fields: Any) -> None:
        # Where the turn is over nobody is left to see it, and the block must be left all the same.
        self._bridge.put(Tool(self.call_id, self.name, status, message, **fields))

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is None:
            self.finish()
        else:
            # What the exception says may be an internal: it goes to the log of the server, not to the person.
            self.fail(f"{self.name} failed")
