"""What the messages of a client do: client events → sessions and turns."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from ..chat import envelope, events
from ..errors import ClientError
from ..guard.pace import Pace
from ..wire.close import CloseCode
from ..wire.frames import TEXT
from .sockets import GOING_AWAY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..chat.session import Session
    from ..config import Config
    from .auth.renewal import Renewals
    from .connection import Connection
    from .sessions import Sessions
    from .turns import Turns


#: A message of so many bytes makes few objects.
_SMALL = 2**10


class Echo:
    """The raw echo: every message comes back as it came."""

    def handle(self, connection: Connection, opcode: int, payload: bytes, now: float) -> None:
        connection.protocol.send(opcode, payload)
        connection.pump.messages += 1

    def received(self, connection: Connection, size: int, now: float) -> float:
        return 0.0

    def lost(self, connection: Connection) -> None:
        """Nothing was kept."""


class Conversation:
    """Reads what clients ask for and has it done. While `draining` no message begins a turn."""

    def __init__(
        self,
        sessions: Sessions,
        turns: Turns,
        renewals: Renewals,
        traceparents: Mapping[Connection, str],
        config: Config,
    ) -> None:
        self.draining = False
        self._sessions = sessions
        self._turns = turns
        self._renewals = renewals
        self._traceparents = traceparents
        self._pace = Pace(config)
        self._table: dict[type, Callable[[Session, Any], None]] = {
            events.Message: self._message,
            events.Stop: self._stop,
            events.Answer: self._answer,
            events.Ping: self._ping,
            events.History: self._history,
            events.End: self._end,
        }

    def handle(self, connection: Connection, opcode: int, payload: bytes, now: float) -> None:
        session, account = connection.session, connection.account
        assert session is not None and account is not None, "its bytes have been counted"
        if opcode != TEXT:
            connection.close_now(CloseCode.UNSUPPORTED_DATA, "only text is understood here")
            return
        wait = self._pace.message(session, account, now)
        if wait == inf:
            connection.close_now(CloseCode.TOO_FAST, "messages too fast")
            return
        if len(payload) <= _SMALL:
            self._serve(connection, session, payload, wait, now)
        else:
            with envelope.uncollected():
                self._serve(connection, session, payload, wait, now)

    def _serve(self, connection: Connection, session: Session, payload: bytes, wait: float, now: float) -> None:
        """Has it done, unless it comes so many seconds too early."""
        try:
            event = envelope.decode_event(payload)
            # Who is too fast can still be made to stop.
            if wait and not isinstance(event, events.Stop | events.End):
                # Room for what was refused, and for sending it again.
                later = wait + self._pace.interval
                raise ClientError("rate_limited", "messages too fast", retryable=True, ref=event.id, retry_after=later)
            if isinstance(event, events.Auth):
                self._renewals.begin(connection, event)
            else:
                self._do(session, event, payload)
        except ClientError as exc:
            session.tell("error", exc.data())
            if not wait and self._pace.mistake(session, now):
                connection.close_now(CloseCode.TOO_FAST, "too many errors")

    def _do(self, session: Session, event: events.ClientEvent, payload: bytes) -> None:
        """Has it done; `payload` is how it came. Raises `ClientError`."""
        self._table[type(event)](session, event)

    def received(self, connection: Connection, size: int, now: float) -> float:
        session, account = connection.session, connection.account
        assert session is not None, "a connection of the conversation has a session"
        if account is None or account.dropped:
            account = connection.account = self._pace.account(connection.seat.owner, now)
        return self._pace.received(session, account, size, now)

    def lost(self, connection: Connection) -> None:
        self._renewals.cancel(connection)
        self._sessions.detach(connection)

    def _message(self, session: Session, event: events.Message) -> None:
        if self.draining:
            raise ClientError("server_shutdown", GOING_AWAY, retryable=True, ref=event.id)
        connection = self._sessions.connection_of(session) if self._traceparents else None
        self._turns.take(session, event, self._traceparents.get(connection) if connection is not None else None)

    def _stop(self, session: Session, event: events.Stop) -> None:
        self._turns.stop(session, event)
        self._acknowledge(session, event.id)

    def _answer(self, session: Session, event: events.Answer) -> None:
        session.answer(event)
        self._acknowledge(session, event.id)

    def _ping(self, session: Session, event: events.Ping) -> None:
        self._acknowledge(session, event.id)
        session.tell("pong", event.data)

    def _history(self, session: Session, event: events.History) -> None:
        self._acknowledge(session, event.id)
        session.tell_history()

    def _end(self, session: Session, event: events.End) -> None:
        self._acknowledge(session, event.id)
        self._sessions.end(session, "stopped")

    def _acknowledge(self, session: Session, ref: str | None) -> None:
        if ref is not None:
            session.tell("ack", {"ref": ref})
