"""An open WebSocket connection as asyncio sees it: moves bytes and keeps deadlines.

What the bytes mean is the protocol's to say, what a message does is the handler's, when to write is the pump's. The
deadlines are those of pings, signs of life, progress of what is sent, age, tokens, and the end of closing.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from math import inf
from random import random
from typing import TYPE_CHECKING

from ..guard.expiry import Expiry
from ..wire.close import CloseCode
from ..wire.frames import PING, TEXT
from ..wire.protocol import State
from .auth.renewal import remind
from .flow import Pump
from .intake import Intake
from .sockets import LONGEST_CLOSE, end_sending

if TYPE_CHECKING:
    from ..chat.session import Session
    from ..guard.pace import Account
    from ..guard.seats import Seat
    from ..wire.protocol import Protocol as WireProtocol
    from .sockets import Core, Handler

logger = logging.getLogger(__name__)

#: A message of so many bytes that came whole, as most are, is handled at once, whoever stands in line.
_SMALL = 2**10

#: By so much of `max_age` a connection may end before it.
_AGE_JITTER = 0.1


class Connection(Intake, asyncio.Protocol):
    """From the accepted handshake to the end of the transport."""

    __slots__ = (
        "_close_deadline",
        "_handler",
        "_next_ping",
        "_retirement",
        "_stuck",
        "account",
        "due",
        "seat",
        "session",
    )

    def __init__(
        self, core: Core, handler: Handler, transport: asyncio.Transport, protocol: WireProtocol, seat: Seat
    ) -> None:
        now, config = core.loop.time(), core.config
        super().__init__(core, transport, protocol, Pump(transport, protocol, core.flusher, config))
        self.seat = seat
        self.session: Session | None = None
        self.account: Account | None = None  # what its owner has used, for the handler
        self.due = inf
        self._handler = handler
        self._close_deadline = inf
        # The first ping comes at a random point of the interval: connections that came together do not beat together.
        self._next_ping = now + config.ping_interval * random() if config.ping_interval else inf
        # Connections that came together do not leave together.
        self._retirement = now + config.max_age * (1 - random() * _AGE_JITTER) if config.max_age else inf
        self._stuck: tuple[int, float] | None = None  # while bytes wait: how many had been taken, and when the last
        core.sockets.add(self)
        core.sweeper.schedule(self, self._next_visit())

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.protocol.state.value} {self.session}>"

    # -- called by asyncio ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        now, size = self._core.loop.time(), len(data)
        self.received += size
        wait = self._handler.received(self, size, now)
        self._life = now + wait
        if wait:
            self._core.loop.call_later(wait, self._read_again)
        protocol = self.protocol
        if self._rest is not None:
            self._rest = chain(self._rest, protocol.steps(data))
        elif size <= _SMALL and self._closing is None and (text := protocol.receive_text(data)) is not None:
            self._handle(TEXT, text, now)
            self.pump.uncork()
            if wait or self.pump.paused or self._closing is not None or protocol.state is not State.OPEN:
                self._read(iter(()))
        else:
            self._receive(protocol.steps(data))

    def eof_received(self) -> bool:
        self.protocol.receive_eof()
        # What is still to be written may never be taken.
        self._limit_closing()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.receive_eof()
        self._transport = self._rest = None
        self.pump.detach()
        self._core.sweeper.cancel(self)
        self._core.turnstile.leave(self)
        self._core.sockets.remove(self)
        self._core.expiries.pop(self, None)
        self._core.ledger.connection_lost(self, self._core.loop.time(), self._core.traceparents.pop(self, None))
        self._handler.lost(self)
        self.seat.leave()

    def pause_writing(self) -> None:
        self.pump.paused = True
        self._stuck = self.pump.taken, self._core.loop.time()
        self._reschedule()

    def resume_writing(self) -> None:
        self.pump.paused = False
        self._stuck = None
        self._life = max(self._life, self._core.loop.time())
        self._go_on()

    def _handle(self, opcode: int, payload: bytes, now: float) -> None:
        self.messages += 1
        # What is said in answer leaves when all that was received has been handled: whoever calls this uncorks it.
        self.pump.corked = True
        try:
            self._handler.handle(self, opcode, payload, now)
        except Exception:
            logger.exception("a message of %r could not be handled", self)
            self.protocol.fail(CloseCode.INTERNAL_ERROR, "")

    # -- the token of its user -----------------------------------------------------------------------------------

    def expire_in(self, seconds: float | None) -> None:
        """From now on its user is known for so long, None for without end."""
        now = self._core.loop.time()
        self._core.expiries.pop(self, None)
        if seconds is not None:
            self._core.expiries[self] = Expiry(now, now + seconds)
        self._reschedule()

    # -- closing -------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str = "") -> None:
        """Begins the closing handshake behind all that was published; what takes too long is aborted."""
        if self._closing is None:
            self._closing = code, reason
            self._limit_closing()
            self.pump.run()
            self._close_behind_all()

    def close_now(self, code: int, reason: str) -> None:
        """Begins the closing handshake at once: the peer reads nothing, or has sent what must not be sent."""
        self._limit_closing()
        self.protocol.send_close(code, reason)
        self.pump.run()

    def abort(self) -> None:
        """Ends the connection now, whatever still waits to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def _try_to_close(self) -> None:
        """The next step of closing, if it can be taken: our Close behind the last event, our end of TCP behind all."""
        protocol = self.protocol
        if self._closing is not None and not self.pump.behind:
            protocol.send_close(*self._closing)
            self.pump.run()
        if protocol.state is State.CLOSED:
            self._limit_closing()
            if self._transport is not None and not self.pump.paused and not protocol.queued:
                end_sending(self._transport)

    def _close_behind_all(self) -> None:
        """Our Close, now or once what stands before it may be shown: it may have to be stored first."""
        self._try_to_close()
        if self.pump.behind and self.session is not None:
            self.pump.when_sent(self.session.log.head, self._close_behind_all)

    def _limit_closing(self) -> None:
        if self._close_deadline == inf:
            self._close_deadline = self._core.loop.time() + (self._core.config.close_timeout or LONGEST_CLOSE)
            self._reschedule()

    # -- called by the sweeper -----------------------------------------------------------------------------------

    def visit(self, now: float) -> float:
        config = self._core.config
        if now >= self._close_deadline:
            self.abort()
            return inf
        if self.protocol.state is State.OPEN:
            if self._stuck is not None:
                self._watch_progress(now, *self._stuck)
            if now >= self._next_ping:
                self._next_ping = now + config.ping_interval
                self.protocol.send(PING, b"")
                self.pump.run()
            if now >= self._life_deadline():
                self.close_now(CloseCode.NO_PONG, "no pong")
                self.abort()
                return inf
            if now >= self._retirement:
                self.close_now(CloseCode.TOO_OLD, "this connection is too old: come back with a new one")
            elif (expiry := self._core.expiries.get(self)) is not None:
                remind(self, expiry, now)
        return self._next_visit()

    def _watch_progress(self, now: float, before: int, progress: float) -> None:
        taken, timeout = self.pump.taken, self._core.config.write_timeout
        if taken != before:
            self._stuck = taken, now
            self._life = max(self._life, now)
        elif timeout and now >= progress + timeout:
            self.close_now(CloseCode.SLOW_READER, "too slow a reader")

    def _life_deadline(self) -> float:
        config = self._core.config
        return self._life + config.ping_interval + config.ping_timeout if config.ping_interval else inf

    def _next_visit(self) -> float:
        if self.protocol.state is not State.OPEN:
            return self._close_deadline
        due = min(self._next_ping, self._life_deadline(), self._retirement, self._close_deadline)
        if (expiry := self._core.expiries.get(self)) is not None:
            due = min(due, expiry.due)
        timeout = self._core.config.write_timeout
        if self.pump.paused and timeout:
            # Progress is seen only where it is looked for: often enough to be exact to an eighth.
            due = min(due, self._core.loop.time() + timeout / 8)
        return due

    def _reschedule(self) -> None:
        due = self._next_visit()
        # uvloop's TLS may call back once more after the connection is lost.
        if due < self.due and self._transport is not None:
            self._core.sweeper.schedule(self, due)
