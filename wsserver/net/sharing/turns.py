"""Turns and messages of sessions that several processes share: nothing begins that is not stored.

A message is told as taken, and runs, once the store has it; what the person says meanwhile is heard after it. While
the store is out of reach nobody waits for it, unless nothing may be shown that it does not hold.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ...chat import envelope, events
from ...errors import ClientError
from ..dispatch import Conversation
from ..turns import Turns, overloaded
from .mirror import Mirror

if TYPE_CHECKING:
    from typing import Any

    from ...chat.events import Message
    from ...chat.session import Session
    from ...chat.turn import Cause, Turn
    from .directory import Directory
    from .journal import Journal

#: So much may be said while a message is stored, and where memory is short nothing of more bytes than these.
_MOST_LATER = 256
_SMALL = 2**10


class SharedTurns(Turns):
    """`directory` and `conversation` are set before any turn is taken."""

    directory: Directory
    conversation: SharedConversation

    def _accept(self, session: Session, message: Message, traceparent: str | None) -> None:
        turn = session.accept(message)
        if turn is None:
            session.acknowledge(message, None)
            return
        turn.traceparent = traceparent
        journal, copier = self.directory.journals[session.id], self.directory.copier
        journal.accept(turn, partial(self._stored, session, message, turn))
        if copier.out and not journal.log.strict:
            journal.go_on()

    def _stored(self, session: Session, message: Message, turn: Turn) -> None:
        session.acknowledge(message, turn)
        self._interrupt(session, turn)
        self._begin_next(session)
        self.conversation.go_on(self.directory.journals[session.id])

    def give_up(self, session: Session) -> None:
        """Ends all that runs or waits in a session, and nobody is told: another process has it."""
        was_busy = session.busy
        for turn in reversed(list(session.unfinished())):
            if turn is not session.turn:
                session.drop(turn)
            turn.cause = "shutdown"
            turn.give_up()
            self._cancel(session, turn)
        if was_busy and not session.busy:
            self._rest(session)

    def _begin_next(self, session: Session) -> None:
        journal = self.directory.journals.get(session.id)
        # What is being stored is the last that waits.
        if journal is not None and journal.storing is not None and len(session.waiting) == 1:
            return
        super()._begin_next(session)

    def _end(self, session: Session, turn: Turn, cause: Cause) -> None:
        super()._end(session, turn, cause)
        if not session.busy:
            # It was the only one, and had not begun.
            self._rest(session)


class SharedConversation(Conversation):
    """`directory` is set before anything is said."""

    directory: Directory

    def hear(self, session: Session, payload: bytes) -> None:
        """What a client has said to another process."""
        try:
            event = envelope.decode_event(payload)
            self._do(session, event, payload)
        except ClientError as exc:
            session.tell("error", exc.data())

    def go_on(self, journal: Journal) -> None:
        """A message is stored: what was said after it is heard now."""
        session, later = journal.session, journal.later
        while later and journal.storing is None and not session.ended:
            try:
                super()._do(session, later.next(), b"")
            except ClientError as exc:
                session.tell("error", exc.data())

    def _do(self, session: Session, event: events.ClientEvent, payload: bytes) -> None:
        if isinstance(session, Mirror):
            if not isinstance(event, events.History):
                session.say(payload)
            elif not session.ask_history(payload):
                raise _too_fast(event.id)
            return
        journal = self.directory.journals.get(session.id)
        if journal is not None and (journal.storing is not None or journal.later):
            if len(journal.later) >= _MOST_LATER:
                raise _too_fast(event.id)
            if len(payload) > _SMALL and session.log.pool.is_full:
                raise overloaded(event.id)
            journal.later.add(event, len(payload))
            return
        super()._do(session, event, payload)

    def _history(self, session: Session, event: Any) -> None:
        journal = self.directory.journals.get(session.id)
        reader = session.reader
        if journal is None or not journal.log.strict or reader is None:
            super()._history(session, event)
            return
        if journal.holds_much:
            raise _too_fast(event.id)
        self._acknowledge(session, event.id)
        payload = session.history_event()

        def show() -> None:
            if session.reader is reader:
                reader.send(payload)

        # It holds what may not be shown yet.
        journal.when_stored(journal.log.head, show)


def _too_fast(ref: str | None) -> ClientError:
    return ClientError("rate_limited", "messages too fast", retryable=True, ref=ref, retry_after=1.0)
