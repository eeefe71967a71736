"""The socket of a chat as asyncio sees it: moves bytes, keeps deadlines, decides nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from ..errors import ProtocolError
from ..wire.client import State

if TYPE_CHECKING:
    from ..wire.client import Client
    from .address import Address

SECONDS = 1

#: How long the closing handshake, and the server's end of the connection behind it, may take.
CLOSE_TIMEOUT = 5 * SECONDS


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
        self._life = 0.0  # the last sign of it
        self._watch_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    # -- for the owner -------------------------------------------------------------------------------------------

    async def open(self, address: Address) -> None:
        """Connects and sends the request. Raises `OSError`."""
        await self._loop.create_connection(lambda: self, address.host, address.port, ssl=address.secure or None)

    def send(self, text: str) -> None:
        """A message; dropped once the connection is closing. Raises `UnicodeEncodeError` for lone surrogates."""
        self.wire.send_text(text)
        self._flush()

    def read(self, reading: bool) -> None:
        """Whether to take bytes from the socket now; what is not taken waits at the server."""
        if reading is not self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = reading
            self._life = self._loop.time()
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def expect_life(self, patience: float) -> None:
        """From now on a peer that is silent for so many seconds counts as dead."""
        self._life = self._loop.time()
        self._watch(patience)

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
        self._life = self._loop.time()
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

    def _watch(self, patience: float) -> None:
        now = self._loop.time()
        if not self._reading:
            # Where we do not look, nothing can be seen.
            self._life = now
        if now - self._life >= patience:
            self.wire.close_reason = "no sign of life"
            self.abort()
        else:
            self._watch_timer = self._loop.call_at(self._life + patience, self._watch, patience)
