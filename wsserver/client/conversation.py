"""A conversation over one connection after the other: which event belongs to whom, and what has to be said again.

Knows no connection and no clock. While there is one, `receive` is given its events and `send` takes what goes out.

The first event of a connection, `session`, says what has become of the conversation:

- resumed and recovered: the missed events come, each with its number; what was not answered is asked again.
- resumed with a hole: the same, but events are missing. The history has what was shown in them, so what comes is held
  back until it is here.
- another session: what was under way is lost, all but the messages that nobody has taken yet.
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Any

from ..errors import ProtocolError
from ..wire.close import CloseCode
from .errors import ChatError, RequestRefused, SessionLost
from .events import Event, encode, seconds
from .hole import Hole
from .inbox import Question, Rest
from .outbox import Outbox, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from .outbox import Result

#: What a token is made of: a subprotocol could not hold more.
_TOKEN = re.compile("[A-Za-z0-9._~-]+")

#: Events whose `ref` is the name of a request.
_REFERRING = frozenset(("ack", "start", "complete", "error"))

#: Events that are for the client itself.
_BOOKKEEPING = frozenset(("ack", "pong", "replayed"))


class Conversation:
    """`send` is called with each message for the server; `lasting` says that another connection follows a loss.

    `session` is the data of the server's last `session` event.
    """

    def __init__(self, send: Callable[[str], None], *, lasting: bool = False) -> None:
        self.session: dict[str, Any] = {}
        self.session_id: str | None = None
        self.seq = 0  # of the last event
        self.rest = Rest()
        self._send = send
        self._lasting = lasting
        self.connected = False  # `session` was there
        self._numbers = count(1)
        self._outbox = Outbox()
        self._questions: dict[str, Question] = {}  # by the id of their message
        self._turns: dict[int, Question] = {}
        self._hole: Hole | None = None
        self._joining = False  # a session that had begun without us: its next event may have any number

    # -- what the client asks for --------------------------------------------------------------------------------

    def ask(self, content: Any) -> Question:
        """Says something. Raises `TypeError` or `ValueError` for what JSON cannot hold."""
        question: Question

        def refused(result: Result) -> None:
            if isinstance(result, ChatError):
                self._forget(question)
                question.end(result)

        request = self._request("message", {"content": content}, refused)
        question = self._questions[request.ref] = Question(request.ref)
        self._flush()
        return question

    def leave(self, question: Question) -> None:
        """Nobody takes the answer any more. What the server has not heard of yet, it will not hear."""
        question.abandon()
        request = self._outbox.find(question.ref)
        if request is not None and not request.copies:
            self._outbox.remove(request)
            self._forget(question)

    def request(self, name: str, data: dict[str, Any], settle: Callable[[Result], object]) -> None:
        """Asks for something else; `settle` is called with the data of its answer. Raises as `ask` does."""
        self._request(name, data, settle)
        self._flush()

    def _request(self, name: str, data: dict[str, Any], settle: Callable[[Result], object]) -> Request:
        ref = f"c{next(self._numbers)}"
        request = Request(ref, name, encode(name, data, ref), settle, for_all=name == "stop" and not data)
        self._outbox.add(request)
        return request

    def _flush(self) -> None:
        if self.connected:
            for request in self._outbox.due():
                self._send(request.text)

    # -- connections come and go ---------------------------------------------------------------------------------

    @property
    def resume(self) -> str | None:
        """The subprotocol that asks for this session, None where it cannot be resumed."""
        token = str(self.session.get("resume_token"))
        if self.session.get("resumable") is not True or not _TOKEN.fullmatch(token):
            return None
        return f"resume.{token}.{_number(self.session.get('epoch'))}.{self.seq}"

    def disconnected(self) -> None:
        """What comes next is the first event of another connection."""
        self.connected = False
        self._outbox.disconnected()

    def end(self, error: ChatError, *, expected: bool) -> None:
        """There will be no other connection."""
        self._lose(error, all_of_it=True)
        self.rest.end(None if expected else error)

    def _begin(self, event: Event, size: int) -> None:
        first, data = self.session_id is None, event.data
        resumed = data.get("resumed") is True and event.session_id == self.session_id
        self.session, self.session_id = data, event.session_id
        self.connected = True
        if not first:
            self.rest.put(event, size)
        self._withdraw_history()
        if not resumed:
            self.seq = _number(data.get("seq"))
            self._joining = data.get("resumed") is True
            self._hole = None
            if not first:
                self._lose(SessionLost("the server has forgotten this conversation"), all_of_it=False)
        self._flush()
        if resumed and data.get("recovered") is not True:
            self._look_back(_number(data.get("seq")))
        elif self._hole is not None:
            self._ask_for_history(self._hole)

    def _lose(self, error: ChatError, *, all_of_it: bool) -> None:
        """What was under way is lost; all of it, or all but the messages that nobody has taken."""
        for request in self._outbox.clear():
            if request.name == "message" and not all_of_it:
                self._outbox.add(request)
            else:
                request.settle(error)
        for question in list(self._questions.values() if all_of_it else self._turns.values()):
            self._forget(question)
            question.end(error)

    # -- what the server says ------------------------------------------------------------------------------------

    def receive(self, event: Event, size: int) -> None:
        """An event of the present connection; the first must be `session`. Raises `ProtocolError`."""
        if not self.connected:
            if event.name != "session":
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "a conversation begins with the event session")
            self._begin(event, size)
        elif event.seq is None or self._is_next(event, event.seq):
            if self._hole is not None and event.turn is not None:
                self._hole.hold(event, size)
            else:
                self._route(event, size)
            self._catch_up()

    def _is_next(self, event: Event, seq: int) -> bool:
        """False for an event that was there before."""
        first = (event.name == "token" and _number(event.data.get("from_seq"))) or seq
        if self._joining:
            self._joining = False
            self.seq = first - 1
        if seq <= self.seq:
            return False
        if first != self.seq + 1:
            self._look_back(seq - 1)
        self.seq = seq
        return True

    def _route(self, event: Event, size: int) -> None:
        # Events of the application's own may have a `ref` that means something else.
        ref = str(event.data.get("ref")) if event.name in _REFERRING else ""
        question = self._turns.get(event.turn) if event.turn is not None else None
        turn = event.data.get("turn") if event.turn is None else event.turn
        if question is None and isinstance(turn, int) and (question := self._questions.get(ref)) is not None:
            question.turn = turn
            self._turns[turn] = question
        request = self._outbox.find(ref)
        if event.turn is not None and question is not None:
            # Its turn has begun, or is over before that: so the message was taken, whatever became of the ack.
            if request is not None:
                self._outbox.remove(request)
            self._give(question, event, size)
        elif event.name == "error" and request is not None:
            self._refuse(request, event.data)
        elif event.name == "ack" and request is not None and request.name != "history":
            self._settle(request, event.data)
        elif event.name == "history":
            # It names no request, but they come in the order they were asked for.
            request = self._outbox.first("history")
            if request is not None:
                self._settle(request, event.data)
        elif event.name not in _BOOKKEEPING:
            self.rest.put(event, size)

    def _give(self, question: Question, event: Event, size: int = 0) -> None:
        question.put(event, size)
        if event.final:
            self._forget(question)

    def _refuse(self, request: Request, data: dict[str, Any]) -> None:
        code = str(data.get("code"))
        if code == "not_active" and request.copies > 1:
            # An earlier copy did what there was to do, or it has ended by itself: both is what was wanted.
            self._settle(request, {})
        elif code == "server_shutdown" and request.name == "message" and self._lasting:
            # This one goes away. The next one will take it.
            request.copies = 0
        else:
            retryable, wait = data.get("retryable") is True, seconds(data.get("retry_after"))
            self._settle(request, RequestRefused(code, str(data.get("message")), retryable=retryable, retry_after=wait))

    def _settle(self, request: Request, result: Result) -> None:
        self._outbox.remove(request)
        request.settle(result)
        self._flush()

    def _forget(self, question: Question) -> None:
        self._questions.pop(question.ref, None)
        if question.turn is not None:
            self._turns.pop(question.turn, None)

    # -- looking back --------------------------------------------------------------------------------------------

    def _look_back(self, last: int) -> None:
        """The events behind the last one up to number `last` are missing; so is now what was held behind a hole."""
        self._withdraw_history()
        hole = self._hole = Hole(self.seq + 1 if self._hole is None else self._hole.first, last)
        self.seq = last
        self.rest.put(Event("gap", hole.data))
        self._ask_for_history(hole)

    def _ask_for_history(self, hole: Hole) -> None:
        """Behind all messages: by the time it comes, it is known which turns are theirs."""

        def came(result: Result) -> None:
            if not isinstance(result, ChatError):
                hole.history = result
                return
            self._hole = None
            for question in list(self._turns.values()):
                self._forget(question)
                question.end(result)

        hole.request = self._request("history", {}, came)
        self._flush()

    def _withdraw_history(self) -> None:
        """Another one will be asked for, or none."""
        if self._hole is not None and self._hole.request is not None:
            self._outbox.remove(self._hole.request)
            self._hole.request = self._hole.history = None

    def _catch_up(self) -> None:
        """Once all events are here up to where the history goes, everybody is told what is missing, and it goes on."""
        hole = self._hole
        if hole is not None and hole.filled(self.seq):
            self._hole = None
            for question, event in hole.missing(list(self._turns.values())):
                self._give(question, event)
            for event, size in hole.rest():
                self._route(event, size)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
