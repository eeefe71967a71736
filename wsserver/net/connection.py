"""An open WebSocket connection as asyncio sees it: moves bytes, decides nothing.

What the bytes mean is the protocol's to say, what a message does is the handler's, when to write is the pump's. Here
are the connection's deadlines: pings, signs of life, progress of what it sends, the end of its closing.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from random import random
from typing import TYPE_CHECKING, Protocol

from ..wire.close import CloseCode
from ..wire.frames import PING
from ..wire.protocol import State
from .flow import Pump

if TYPE_CHECKING:
    from ..chat.session import Session
    from ..config import Config
    from ..wire.frames import Frame
    from ..wire.protocol import Protocol as WireProtocol
    from .flow import Flusher
    from .sweeper import Sweeper

logger = logging.getLogger(__name__)


class Handler(Protocol):
    """What a connection carries: the conversation, or the raw echo."""

    def opened(self, connection: Connection) -> None:
        """The handshake is accepted; what is sent now leaves with the 101."""

    def handle(self, connection: Connection, frame: Frame) -> None:
        """A message has come."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone; called exactly once."""


class Member(Protocol):
    """An open socket, during its handshake or after it."""

    def close(self, code: int, reason: str = "") -> None:
        """Ends it in order, by a deadline."""


class Registry(Protocol):
    """Where all open sockets of a server are known."""

    def add(self, member: Member) -> None: ...
    def remove(self, member: Member) -> None: ...


class Core(Protocol):
    """What all connections of a server share."""

    @property
    def config(self) -> Config: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def sweeper(self) -> Sweeper: ...
    @property
    def flusher(self) -> Flusher: ...
    @property
    def sockets(self) -> Registry: ...


class Connection(asyncio.Protocol):
    """From the accepted handshake to the end of the transport."""

    __slots__ = (
        "_core",
        "_handler",
        "_life",
        "_next_ping",
        "_progress",
        "_taken",
        "_transport",
        "close_deadline",
        "due",
        "protocol",
        "pump",
        "session",
    )

    def __init__(self, core: Core, handler: Handler, transport: asyncio.Transport, protocol: WireProtocol) -> None:
        now = core.loop.time()
        config = core.config
        self.protocol = protocol
        self.pump = Pump(transport, protocol, core.flusher, config)
        self.session: Session | None = None
        self.due = inf
        self.close_deadline = inf
        self._core = core
        self._handler = handler
        self._transport: asyncio.Transport | None = transport
        self._life = now  # the last sign of it
        # The first ping comes at a random point of the interval: connections that came together do not beat together.
        self._next_ping = now + config.ping_interval * random() if config.ping_interval else inf
        self._taken = 0
        self._progress = now  # the last time that bytes were taken, where some are waiting
        core.sockets.add(self)
        core.sweeper.schedule(self, self._next_visit())

    def __repr__(self) -> str:
        return f"<Connection {self.protocol.state.value} {self.session}>"

    # -- called by asyncio ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._life = self._core.loop.time()
        protocol = self.protocol
        try:
            for frame in protocol.receive_data(data):
                self._handler.handle(self, frame)
        except Exception:
            logger.exception("a message of %r could not be handled", self)
            protocol.fail(CloseCode.INTERNAL_ERROR, "")
        if protocol.queued:
            self.pump.run()
            self.pump.bound()
        if protocol.state is State.CLOSED:
            self._finish()

    def eof_received(self) -> bool:
        self.protocol.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.receive_eof()
        self._transport = None
        self.pump.detach()
        self._core.sweeper.cancel(self)
        self._core.sockets.remove(self)
        self._handler.lost(self)

    def pause_writing(self) -> None:
        self.pump.paused = True
        now = self._core.loop.time()
        self._progress = now
        self._taken = self.pump.taken
        self._reschedule()

    def resume_writing(self) -> None:
        self.pump.paused = False
        self._life = self._core.loop.time()
        self.pump.run()
        if self.protocol.state is State.CLOSED:
            self._finish()

    # -- closing -------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str = "") -> None:
        """Sends what can go, then begins the closing handshake; what does not end in time is aborted."""
        self.pump.run()
        self.protocol.send_close(code, reason)
        self.pump.run()
        self._limit_closing()

    def abort(self) -> None:
        """Ends the connection now, whatever still waits to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def _finish(self) -> None:
        """The closing handshake is over, or the connection has failed: ends the transport, once all is written."""
        self._limit_closing()
        transport = self._transport
        if transport is None or transport.is_closing() or self.pump.paused or self.protocol.queued:
            return
        if transport.can_write_eof():
            # With bytes of the peer's unread a plain close is a reset, which may overtake our Close frame.
            transport.write_eof()
        else:
            transport.close()

    def _limit_closing(self) -> None:
        timeout = self._core.config.close_timeout
        if self.close_deadline == inf and timeout:
            self.close_deadline = self._core.loop.time() + timeout
            self._reschedule()

    # -- called by the sweeper -----------------------------------------------------------------------------------

    def visit(self, now: float) -> float:
        config = self._core.config
        if now >= self.close_deadline:
            self.abort()
            return inf
        if self.protocol.state is State.OPEN:
            if self.pump.paused:
                self._watch_progress(now)
            if now >= self._next_ping:
                self._next_ping = now + config.ping_interval
                self.protocol.send(PING, b"")
                self.pump.run()
            if now >= self._life_deadline():
                self.close(CloseCode.NO_PONG, "no pong")
                self.abort()
                return inf
        return self._next_visit()

    def _watch_progress(self, now: float) -> None:
        taken, timeout = self.pump.taken, self._core.config.write_timeout
        if taken != self._taken:
            self._taken = taken
            self._progress = self._life = now
        elif timeout and now >= self._progress + timeout:
            self.close(CloseCode.SLOW_READER, "too slow a reader")

    def _life_deadline(self) -> float:
        config = self._core.config
        return self._life + config.ping_interval + config.ping_timeout if config.ping_interval else inf

    def _next_visit(self) -> float:
        if self.protocol.state is not State.OPEN:
            return self.close_deadline
        due = min(self._next_ping, self._life_deadline())
        timeout = self._core.config.write_timeout
        if self.pump.paused and timeout:
            # Progress is seen only where it is looked for: often enough to be exact to an eighth.
            due = min(due, self._core.loop.time() + timeout / 8)
        return due

    def _reschedule(self) -> None:
        due = self._next_visit()
        if due < self.due:
            self._core.sweeper.schedule(self, due)
