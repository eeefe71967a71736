"""What the messages of a client do: client events → sessions and turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..chat import envelope, events
from ..chat.log import Cursor
from ..chat.session import Session
from ..errors import ClientError
from ..wire.close import CloseCode
from ..wire.frames import TEXT, Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Config
    from .connection import Connection
    from .turns import Turns


class Echo:
    """The raw echo: every message comes back as it came."""

    def opened(self, connection: Connection) -> None:
        """Nothing is sent before the first message."""

    def handle(self, connection: Connection, frame: Frame) -> None:
        connection.protocol.send(frame.opcode, frame.payload)

    def lost(self, connection: Connection) -> None:
        """Nothing was kept."""


class Conversation:
    """Holds the sessions; reads what clients ask for and has it done."""

    def __init__(self, turns: Turns, config: Config) -> None:
        self.sessions: dict[str, Session] = {}
        self._turns = turns
        self._config = config
        self._table: dict[type, Callable[[Connection, Session, Any], None]] = {
            events.Message: self._message,
            events.Stop: self._stop,
            events.Ping: self._ping,
            events.History: self._history,
            events.End: self._end,
        }

    def opened(self, connection: Connection) -> None:
        session = connection.session = Session(self._config)
        self.sessions[session.id] = session
        connection.pump.attach(session, Cursor(session.log))
        session.tell(
            "session",
            {
                "resumed": False,
                "recovered": False,
                "resumable": False,
                "epoch": session.epoch,
                "seq": session.log.head,
                "resume_token": session.new_token(),
                "resume_ttl": 0,
                "ping_interval": self._config.ping_interval,
                "max_message_size": self._config.max_message_size,
                "active_turn": session.active.id if session.active else None,
            },
        )

    def handle(self, connection: Connection, frame: Frame) -> None:
        session = connection.session
        assert session is not None, "a connection of the conversation has a session"
        if frame.opcode != TEXT:
            connection.close_now(CloseCode.UNSUPPORTED_DATA, "only text is understood here")
            return
        try:
            event = envelope.decode_event(frame.payload)
            self._table[type(event)](connection, session, event)
        except ClientError as exc:
            data = {"code": exc.code, "message": exc.message, "retryable": exc.retryable, "final": False}
            session.tell("error", data if exc.ref is None else {**data, "ref": exc.ref})

    def lost(self, connection: Connection) -> None:
        session = connection.session
        if session is not None:
            del self.sessions[session.id]
            self._turns.end_all(session, "disconnected")

    def _message(self, connection: Connection, session: Session, event: events.Message) -> None:
        self._turns.take(session, event)

    def _stop(self, connection: Connection, session: Session, event: events.Stop) -> None:
        self._turns.stop(session, event)
        _acknowledge(session, event.id)

    def _ping(self, connection: Connection, session: Session, event: events.Ping) -> None:
        _acknowledge(session, event.id)
        session.tell("pong", event.data)

    def _history(self, connection: Connection, session: Session, event: events.History) -> None:
        _acknowledge(session, event.id)
        session.tell_history()

    def _end(self, connection: Connection, session: Session, event: events.End) -> None:
        _acknowledge(session, event.id)
        self._turns.end_all(session, "stopped")
        connection.close(CloseCode.NORMAL, "ended")


def _acknowledge(session: Session, ref: str | None) -> None:
    if ref is not None:
        session.tell("ack", {"ref": ref})
