"""What a callback holds: its turn, and the tools it shows.

A turn publishes into the log of its session until it is over; what comes later is dropped. It is over with its one
final event, whoever ended it: the callback by returning or raising, the client by a stop, the server by a deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, Self
from uuid import uuid4

from . import envelope
from .events import Custom, Reset, Source, Status, Token, Tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from .events import Item
    from .session import Session

Cause = Literal["stopped", "interrupted", "disconnected", "timeout", "shutdown"]


class Flow(Protocol):
    """What paces a callback; implemented where there is an event loop."""

    def must_pause(self) -> bool:
        """Whether it has to wait now."""

    async def pause(self) -> None:
        """Waits until others had their turn and the reader has caught up."""


class SessionView:
    """What a callback sees of its session."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def id(self) -> str:
        """The public name of the session."""
        return self._session.id

    @property
    def user(self) -> str | None:
        """Whose session it is, None where nobody logs in."""
        return self._session.user


class Turn:
    """One message of the person and its answer. `id` counts the turns of the session: 1, 2, 3 …

    `content` is what the client sent: text, or any JSON value. `cause` says why the turn is being ended, None as long
    as it is not. Set `usage` to a JSON object and the final event carries it.
    """

    __slots__ = (
        "_max_text",
        "_room",
        "_session",
        "_template",
        "_text",
        "cause",
        "content",
        "flow",
        "id",
        "over",
        "ref",
        "usage",
    )

    def __init__(self, session: Session, number: int, content: Any, ref: str | None, max_text: int) -> None:
        self.id = number
        self.content = content
        self.ref = ref
        self.cause: Cause | None = None
        self.usage: Mapping[str, Any] | None = None
        self.over = False
        self.flow: Flow | None = None
        self._session = session
        self._template = envelope.token_template(session.id, number)
        self._text = bytearray()  # the JSON of the answer, without quotes
        self._max_text = max_text
        self._room = max_text  # bytes of text that the history may still take; below 0 some was left out

    def __repr__(self) -> str:
        return f"<Turn {self.id} of {self._session.id}{' over' if self.over else ''}>"

    # -- for the callback ----------------------------------------------------------------------------------------

    @property
    def session(self) -> SessionView:
        """The session of this turn."""
        return SessionView(self._session)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The conversation as the person was shown it, oldest first, the message of this turn last.

        Each item is `{"role": "user" | "assistant", "content": …, "status": …}`; a stopped turn has its partial text,
        and nothing that a `Reset` voided. The list is a copy.
        """
        return self._session.history

    async def send(self, item: Item) -> None:
        """Shows `item`, and waits while the reader is too far behind. The same as yielding it."""
        self.publish(item)
        if self.flow is not None and self.flow.must_pause():
            await self.flow.pause()

    def tool(self, name: str, message: str | None = None, *, input: Any = None) -> ToolCall:
        """A step of the work, shown while it runs: `async with turn.tool("orders", "Looking …") as tool:`."""
        return ToolCall(self, name, message, input)

    # -- for the server ------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The answer as far as it was shown."""
        return envelope.decode_text(self._text)

    def shown(self) -> dict[str, Any]:
        """What a client is told of the answer that is under way."""
        shown = {"turn": self.id, "text": self.text}
        return {**shown, "truncated": True} if self._room < 0 else shown

    def publish(self, item: Item) -> None:
        """Puts `item` into the log, or shows it in passing; raises `TypeError` for what is no item."""
        if self.over:
            return
        session = self._session
        if isinstance(item, str) or isinstance(item, Token):
            text = item if isinstance(item, str) else item.value
            if text:
                value = envelope.encode_value(text)[1:-1]
                session.log.append_token(self._template, value)
                self._room -= len(value)
                if self._room >= 0:
                    self._text += value
                if session.reader is not None:
                    session.reader.wake()
        elif isinstance(item, Tool | Source | Custom):
            session.publish(item.event, item.data(), self.id)
        elif isinstance(item, Status):
            # Not logged, so nothing slows it down: a reader that is behind goes without.
            if session.reader is not None and not session.reader.full:
                session.tell(item.event, item.data(), self.id)
        elif isinstance(item, Reset):
            session.publish(item.event, item.data(), self.id)
            if item.channel == "answer":
                self._forget()
        else:
            raise TypeError(
                f"a turn shows str, Token, Tool, Source, Status, Reset or Custom, not {type(item).__name__}"
            )

    def complete(self, status: str) -> None:
        """The final event of a turn that was not an error; does nothing if there was one before."""
        data: dict[str, Any] = {"status": status}
        if self.usage is not None:
            data["usage"] = self.usage
        try:
            self._finish("complete", data, status)
        except TypeError:
            # `usage` cannot be written: an error of the callback, but none that keeps others from ending its turn.
            if self.cause is None:
                raise
            self._finish("complete", {"status": status}, status)

    def fail(self, code: str, message: str, *, retryable: bool = False) -> None:
        """The final event of a turn that failed; does nothing if there was one before."""
        data = {"code": _writable(code), "message": _writable(message), "retryable": bool(retryable)}
        self._finish("error", data, "failed")

    def _finish(self, event: str, data: dict[str, Any], status: str) -> None:
        if self.over:
            return
        data["final"] = True
        if self.ref is not None:
            data["ref"] = self.ref
        session = self._session
        session.publish(event, data, self.id)
        self.over = True
        if session.gate is not None:
            # Nothing of this turn waits for the reader any more.
            session.gate.set()
            session.gate = None
        if session.turn is self:
            session.remember(self.id, "assistant", self.text, status, self._room < 0)
        self._forget()

    def _forget(self) -> None:
        self._text.clear()
        self._room = self._max_text


def _writable(text: object) -> str:
    """What the application gave as text, so that JSON can hold it: a turn must be able to fail."""
    return str(text).encode(errors="replace").decode()


class ToolCall:
    """A running step. Made by `Turn.tool`; leaving its block ends it: failed if by an exception."""

    __slots__ = ("_ended", "_input", "_message", "_turn", "call_id", "name")

    def __init__(self, turn: Turn, name: str, message: str | None, input: Any) -> None:
        self.call_id = f"c_{uuid4().hex[:16]}"
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
