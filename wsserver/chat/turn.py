"""What a callback holds: its turn, and the tools it shows.

A turn publishes into the log of its session until it is over; what comes later is dropped. It is over with its one
final event, whoever ended it: the callback by returning or raising, the client by a stop, the server by a deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..errors import ClientError
from . import envelope
from .events import Custom, Reset, Source, Status, Token, Tool
from .history import ENTRY_OVERHEAD, Said
from .question import Question
from .tool import ToolCall, new_call_id
from .view import SessionView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .events import Item
    from .question import Waiter
    from .session import Session

#: Memory for the text of an answer is taken in steps of so many bytes.
_TEXT_STEP = 2**12

Cause = Literal["stopped", "interrupted", "disconnected", "timeout", "shutdown"]

#: Stands for the questions of every turn that asks none: only those that ask pay for a dict.
_NO_QUESTIONS: dict[str, Question] = {}


class Flow(Protocol):
    """What paces a callback; implemented where there is an event loop."""

    def must_pause(self) -> bool:
        """Whether it has to wait now."""

    async def pause(self) -> None:
        """Waits until others had their turn and the reader has caught up."""

    def waiter(self) -> Waiter:
        """Where the callback can wait for an answer."""
        ...


class Turn:
    """One message of the person and its answer. `id` counts the turns of the session: 1, 2, 3 …

    `cause` says why the turn is being ended, None as long as it is not. Set `usage` to a JSON object and the final
    event carries it. `traceparent` is that of the handshake (W3C Trace Context), None where there was none.
    """

    __slots__ = (
        "_held",
        "_max_text",
        "_pool",
        "_questions",
        "_room",
        "_session",
        "_template",
        "_text",
        "_waits",
        "cause",
        "error",
        "flow",
        "id",
        "over",
        "ref",
        "said",
        "status",
        "traceparent",
        "usage",
    )

    def __init__(self, session: Session, number: int, said: bytes, ref: str | None, max_history: int) -> None:
        self.id = number
        self.said = said  # what the client sent, as JSON: objects would take up to twenty times its size
        self.ref = ref
        self.cause: Cause | None = None
        self.usage: Mapping[str, Any] | None = None
        self.over = False
        self.status = ""  # once it is over: completed, stopped, interrupted, failed
        self.error: str | None = None  # the code of its final event, where that is an `error`
        self.traceparent: str | None = None
        self.flow: Flow | None = None
        self._session = session
        self._template = envelope.token_template(session.id, number)
        self._text = bytearray()  # the JSON of the answer, without quotes
        # The longest answer still fits into the history, quotes and all.
        self._max_text = max_history - ENTRY_OVERHEAD - 2
        self._room = min(0, self._max_text)  # what its text may take now, in bytes; below 0 some was left out
        self._pool = session.log.pool
        self._held = self._waits = 0  # what the pool counts of it: its message while it waits, then its text
        self._hold(len(said) + ENTRY_OVERHEAD, waits=True)
        self._questions = _NO_QUESTIONS

    def __repr__(self) -> str:
        return f"<Turn {self.id} of {self._session.id}{' over' if self.over else ''}>"

    # -- for the callback ----------------------------------------------------------------------------------------

    @property
    def session(self) -> SessionView:
        """The session of this turn."""
        return SessionView(self._session)

    @property
    def content(self) -> Any:
        """What the client sent: text, or any JSON value, of which each look gives a copy."""
        return envelope.decode_value(self.said)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The conversation as the person was shown it, oldest first, the message of this turn last.

        Each item is `{"role": "user" | "assistant", "content": …, "status": …}`; a stopped turn has its partial text,
        and nothing that a `Reset` voided. The list is a copy.
        """
        return self._session.history.view()

    async def send(self, item: Item) -> None:
        """Shows `item`, and waits while the reader is too far behind. The same as yielding it."""
        self.publish(item)
        if self.flow is not None and self.flow.must_pause():
            await self.flow.pause()

    def tool(self, name: str, message: str | None = None, *, input: Any = None) -> ToolCall:
        """A step of the work, shown while it runs: `async with turn.tool("orders", "Looking …") as tool:`."""
        return ToolCall(self, name, message, input)

    async def ask(self, message: str, schema: Mapping[str, Any] | None = None) -> Any:
        """Shows a question and waits for the person's answer, also while they are away and come back.

        `schema` is a JSON Schema of what is expected, such as `{"type": "boolean"}` or `{"enum": ["red", "green"]}`;
        what does not fit its `type` and `enum` is refused, anything further is yours to check. Raises
        `asyncio.CancelledError` where the turn ends before there is an answer, `TypeError` for what JSON cannot hold,
        and `ValueError` for a `type` or `enum` that no answer fits. Several questions may be open at a time.
        """
        assert self.flow is not None, "a callback runs"
        question = Question(new_call_id(), message, schema or {}, self.flow.waiter())
        if self.over:
            question.waiter.cancel()
        else:
            self._session.publish("ask", question.data, self.id)
            if self._questions is _NO_QUESTIONS:
                self._questions = {}
            self._questions[question.call_id] = question
        try:
            return await question.waiter
        finally:
            self._questions.pop(question.call_id, None)

    # -- for the server ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The first event of the turn, now that its callback is about to run."""
        self._hold(0)
        self._session.history.add(Said(self.id, "user", self.said, "completed"))
        self._session.publish("start", {"ref": self.ref} if self.ref is not None else {}, self.id)

    def answer(self, call_id: str, value: Any, ref: str | None = None) -> None:
        """The person's answer to a question. Raises `ClientError` `not_active`, or `bad_message` for a misfit."""
        question = self._questions.get(call_id)
        if question is None or question.waiter.done():
            raise ClientError("not_active", "this question is not open", ref=ref)
        misfit = question.misfit(value)
        if misfit is not None:
            raise ClientError("bad_message", misfit, ref=ref)
        question.waiter.set_result(value)

    @property
    def text(self) -> str:
        """The answer as far as it was shown."""
        return envelope.decode_text(self._text)

    def shown(self) -> dict[str, Any]:
        """What a client is told of the answer that is under way."""
        shown: dict[str, Any] = {"turn": self.id, "text": self.text}
        # One that was answered, or given up, is there until its callback has noticed.
        asks = [question.data for question in self._questions.values() if not question.waiter.done()]
        if asks:
            shown["asks"] = asks
        if self._room < 0:
            shown["truncated"] = True
        return shown

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
                shown = self._text
                if len(shown) + len(value) <= self._room:
                    shown += value
                else:
                    self._make_room_for(value)
                reader = session.reader
                if reader is not None and not reader.marked:
                    reader.wake()
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
        data: dict[str, Any] = {"code": _writable(code), "message": _writable(message), "retryable": bool(retryable)}
        if not self.over:
            self.error = data["code"]
        self._finish("error", data, "failed")

    def give_up(self) -> None:
        """Nothing of it is shown any more, not even its end: another process has its session."""
        self.over = True
        self._rest()

    def _rest(self) -> None:
        """Nobody waits for an answer, and no text is kept."""
        for question in self._questions.values():
            question.waiter.cancel()
        self._forget()

    def _finish(self, event: str, data: dict[str, Any], status: str) -> None:
        if self.over:
            return
        data["final"] = True
        if self.ref is not None:
            data["ref"] = self.ref
        session = self._session
        session.publish(event, data, self.id)
        self.over = True
        self.status = status
        # Nothing of this turn waits for the reader any more.
        session.open_gate()
        if session.turn is self:
            text = b"".join((b'"', self._text, b'"'))
            session.history.add(Said(self.id, "assistant", text, status, self._room < 0))
        self._rest()

    def _make_room_for(self, value: bytes) -> None:
        """Takes more memory for the text, or keeps no more of it where it may not."""
        size = len(self._text) + len(value)
        self._room = min(size + _TEXT_STEP, self._max_text) if self._room >= 0 and size <= self._max_text else -1
        if self._room >= 0:
            self._hold(self._room)
            self._text += value

    def stop_growing(self, limit: int) -> None:
        """Memory is short: where its text takes more than so many bytes, it is shown further, but kept no more."""
        if self._held > limit and not self.over:
            self._room = -1

    def _forget(self) -> None:
        self._text.clear()
        self._room = min(0, self._max_text)
        self._hold(0)

    def _hold(self, size: int, *, waits: bool = False) -> None:
        self._pool.add(size - self._held)
        self._pool.waiting -= self._waits
        self._held, self._waits = size, size if waits else 0
        self._pool.waiting += self._waits


def _writable(text: object) -> str:
    """What the application gave as text, so that JSON can hold it: a turn must be able to fail."""
    return str(text).encode(errors="replace").decode()
