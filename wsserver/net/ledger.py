"""What connections and turns came to: counted, and one line of the log for each.

Nothing here is called for a token: a turn is looked at when it begins, at its first token, and when it is over.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, get_args

from ..chat.turn import Cause
from ..counters import OTHER, REASONS, Counters, count
from ..wire.close import CloseCode
from .flow import Pump
from .logs import MISSING, Form, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..chat.session import Session
    from ..chat.turn import Turn
    from ..config import Config
    from ..errors import HandshakeError
    from .connection import Connection
    from .run import Run

logger = logging.getLogger("wsserver.access")

#: The names of labels, made once.
_CODES = {int(code): str(int(code)) for code in CloseCode}
_LOST = int(CloseCode.ABNORMAL)
_STATUSES = {status.value: str(status.value) for status in HTTPStatus}

_CLOSED = Form(
    "connection closed",
    "connection session user address code by reason seconds messages_in messages_out bytes_in bytes_out trace_id",
    foreign="user reason",
)
_OVER = Form("turn over", "session turn end error seconds first_token tokens trace_id", foreign="error")


class Ledger:
    """The counters of one server, and its lines at INFO."""

    def __init__(self, config: Config) -> None:
        # Rates of what happens for the first time can only be seen where it was 0 before.
        self.counters = Counters(
            closed=dict.fromkeys(_CODES.values(), 0),
            turns=dict.fromkeys((*get_args(Cause), "completed", "failed"), 0),
            resumes=dict.fromkeys(("recovered", "hole", "unknown"), 0),
        )
        self._shows_people = config.log_people

    def name(self, address: str | None) -> str:
        """An address as the log may show it."""
        return (address or "a local peer") if self._shows_people else "a client"

    def refused(self, error: HandshakeError) -> None:
        """A handshake was answered with this."""
        self._refused(_STATUSES.get(error.status, OTHER), error.reason if error.reason in REASONS else OTHER)

    def cut(self, reason: str) -> None:
        """A socket was closed without an answer."""
        self._refused("none", reason)

    def _refused(self, status: str, reason: str) -> None:
        count(self.counters.refused.setdefault(status, {}), reason)

    # -- connections -------------------------------------------------------------------------------------------------

    def connection_lost(self, connection: Connection, now: float, traceparent: str | None) -> None:
        counters, protocol, pump = self.counters, connection.protocol, connection.pump
        count(counters.closed, _CODES.get(protocol.close_code, OTHER))
        counters.messages_in += connection.messages
        counters.messages_out += pump.messages
        counters.bytes_in += connection.received
        counters.bytes_out += pump.handed
        if logger.isEnabledFor(logging.INFO):
            session, shows_people = connection.session, self._shows_people
            by_client = protocol.closed_by_peer
            write(
                logger,
                _CLOSED,
                connection.id,
                session.id if session is not None else MISSING,
                (session.user if session is not None and shows_people else None) or MISSING,
                (connection.seat.address if shows_people else None) or MISSING,
                int(protocol.close_code),
                MISSING if protocol.close_code == _LOST else "client" if by_client else "server",
                # What a client gives as its reason is text of the client's.
                MISSING if by_client else protocol.close_reason or MISSING,
                _milli(now - connection.opened),
                connection.messages,
                pump.messages,
                connection.received,
                pump.handed,
                _trace(traceparent),
            )

    # -- turns -------------------------------------------------------------------------------------------------------

    def turn_over(self, session: Session, turn: Turn, run: Run | None, now: float) -> None:
        """Its final event is in the log. `run` is None where it never began."""
        counters, end = self.counters, turn.cause or turn.status
        count(counters.turns, end)
        tokens = 0
        if run is not None:
            tokens = run.settle()
            counters.tokens += tokens
            counters.turn.observe(now - run.began)
            if tokens and run.first_token is not None:
                counters.first_token.observe(run.first_token - run.began)
                counters.token_gap.observe((now - run.first_token) / tokens)
        if logger.isEnabledFor(logging.INFO):
            first = run.first_token if run is not None else None
            write(
                logger,
                _OVER,
                session.id,
                turn.id,
                end,
                turn.error or MISSING,
                _milli(now - run.began) if run is not None else MISSING,
                _milli(first - run.began) if run is not None and first is not None else MISSING,
                tokens,
                _trace(turn.traceparent),
            )

    def stopped(self, session: Session, clock: Callable[[], float]) -> None:
        """A client has stopped a turn, whose final event is the last one in the log: looks when it leaves."""
        if isinstance(session.reader, Pump):
            began = clock()
            session.reader.when_sent(session.log.head, lambda: self.counters.stop.observe(clock() - began))


def _milli(seconds: float) -> float:
    """In whole milliseconds: rounding takes ten times as long."""
    return int(seconds * 1000) / 1000


def _trace(traceparent: str | None) -> object:
    """The trace id in it (W3C Trace Context, section 3.2.2.3)."""
    return traceparent.split("-")[1] if traceparent is not None else MISSING
