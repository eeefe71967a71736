"""The socket of a chat as asyncio sees it: moves bytes, keeps deadlines, decides nothing."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Protocol, cast

from ..errors import ProtocolError
from ..wire.client import State

if TYPE_CHECKING:
    import ssl

    from ..wire.client import Client
    from .address import Address

SECONDS = 1

#: How long the closing handshake, and the server's end of the connection behind it, may take.
CLOSE_TIMEOUT = 5 * SECONDS

#: A server is asked for a sign of life after so many silent intervals of its pings,
_SILENT_INTERVALS = 1.5
#: but no later than after this: a dead network is to show within seconds;
LONGEST_SILENCE = 10 * SECONDS
#: and one that owes an answer, after this: somebody waits.
ANSWER_TIMEOUT = 5 * SECONDS
#: What does not show one for so long then is dead.
PONG_TIMEOUT = 5 * SECONDS


class Owner(Protocol):
    """Whose socket it is."""

    def received(self, text: str) -> None:
        """A message has come. Raises `ProtocolError` where the connection must fail."""

    def ended(self) -> None:
        """No message comes any more; the state of the wire says why. Called exactly once."""


class Link(asyncio.Protocol):
    """One connection, from before its opening handshake to the end of its transport; made on a running loop."""

    def __init__(self, wire: Client, owner: Owner) -> None:
        self.wire = wire
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._gone = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._ended = False
        self._patience = inf
        self._life = 0.0  # the last sign of it
        self._asked_at = inf  # since then an answer is owed
        self._pinged_at = inf
        self._watch_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    # -- for the owner -------------------------------------------------------------------------------------------

    async def open(self, address: Address, context: ssl.SSLContext | None, uds: str | None) -> None:
        """Connects, by a UNIX socket if there is one, and sends the request. Raises `OSError`."""
        secure = (context or True) if address.secure else None
        if uds is None:
            await self._loop.create_connection(lambda: self, address.host, address.port, ssl=secure)
        else:
            name = address.host if secure else None
            await self._loop.create_unix_connection(lambda: self, uds, ssl=secure, server_hostname=name)

    def send(self, text: str) -> None:
        """A message, for which the server owes an answer; dropped once the connection is closing."""
        self.wire.send_text(text)
        self._flush()
        if self._asked_at == inf:
            self._asked_at = self._loop.time()
            self._watch()

    def read(self, reading: bool) -> None:
        """Whether to take bytes from the socket now; what is not taken waits at the server."""
        if reading is not self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = reading
            self._heard()
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def expect_life(self, ping_interval: float) -> None:
        """From now on a peer that is silent for too long is asked for a sign of life, and counts as dead without one.

        `ping_interval`, in seconds, is the one at which it pings, 0 where it does not.
        """
        self._patience = min(ping_interval * _SILENT_INTERVALS or inf, LONGEST_SILENCE)
        self._heard()
        self._watch()

    async def close(self) -> None:
        """The closing handshake; returns once the transport is gone, aborted where it does not end in time."""
        self.wire.send_close()
        self._flush()
        self.read(True)
        self._limit_closing()
        try:
            if self._transport is not None:
                await asyncio.shield(self._gone)
        finally:
            self.abort()

    def abort(self) -> None:
        """Ends it now."""
        if self._transport is not None:
            self._transport.abort()

    # -- called by asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard()
        try:
            for text in self.wire.receive_data(data):
                self._owner.received(text)
        except ProtocolError as exc:
            self.wire.fail(exc.code, exc.reason)
        self._flush()
        self._look()

    def eof_received(self) -> bool:
        self.wire.receive_eof()
        self._look()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.wire.receive_eof()
        self._look()
        for timer in (self._watch_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._gone.set_result(None)

    # -- deadlines -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        data = self.wire.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _look(self) -> None:
        """Tells the owner once it is over. The server ends the transport (RFC 6455, section 7.1.1), by a deadline."""
        if self.wire.state is State.CLOSED and not self._ended:
            self._ended = True
            self.read(True)
            self._limit_closing()
            self._owner.ended()

    def _limit_closing(self) -> None:
        if self._close_timer is None and self._transport is not None:
            self._close_timer = self._loop.call_later(CLOSE_TIMEOUT, self.abort)

    def _heard(self) -> None:
        self._life = self._loop.time()
        self._asked_at = self._pinged_at = inf

    def _watch(self) -> None:
        """Looks whether the peer is alive, and when to look again."""
        if not self._reading:
            # Where we do not look, nothing can be seen.
            self._heard()
        if self._loop.time() >= self._due():
            if self._pinged_at < inf:
                self.wire.close_reason = "no sign of life"
                self.abort()
                return
            self._pinged_at = self._loop.time()
            self.wire.send_ping()
            self._flush()
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        self._watch_timer = self._loop.call_at(self._due(), self._watch)

    def _due(self) -> float:
        if self._pinged_at < inf:
            return self._pinged_at + PONG_TIMEOUT
        return min(self._life + self._patience, self._asked_at + ANSWER_TIMEOUT)
