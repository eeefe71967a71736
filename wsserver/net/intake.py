"""What a connection has received and not read yet: read when it is its turn, and when its peer takes answers.

While something is left the transport reads nothing more, so what a peer sends in vain waits in its own kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .traffic import Traffic
from .turnstile import SLICE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from ..wire.frames import Frame
    from ..wire.protocol import Protocol as WireProtocol
    from .flow import Pump
    from .sockets import Core

#: So many bytes of answers that are not in the log may wait for a peer that takes none; then it is no longer read.
MOST_UNTAKEN = 2**14


class Intake(Traffic):
    """The reading half of a connection, which says what a message does, and how it closes."""

    __slots__ = ("_closing", "_core", "_life", "_rest", "_transport", "protocol", "pump")

    def __init__(self, core: Core, transport: asyncio.Transport, protocol: WireProtocol, pump: Pump) -> None:
        now = core.loop.time()
        super().__init__(now)
        self.protocol = protocol
        self.pump = pump
        self._core = core
        self._transport: asyncio.Transport | None = transport
        self._rest: Iterator[Frame | None] | None = None  # received, but not read; then the transport reads nothing
        self._closing: tuple[int, str] | None = None  # code and reason of the Close that is to be sent
        self._life = now  # the last sign of it; ahead of the clock while nothing is read

    def _handle(self, opcode: int, payload: bytes, now: float) -> None:
        """A message has come."""
        raise NotImplementedError

    def _try_to_close(self) -> None:
        """The next step of closing, if it can be taken."""
        raise NotImplementedError

    def read_on(self) -> None:
        """Called by the turnstile."""
        if self._rest is not None:
            self._read(self._rest)

    def _receive(self, steps: Iterator[Frame | None]) -> None:
        """Reads what has just come, now or when it is its turn."""
        if self._core.turnstile.is_free:
            self._read(steps)
        else:
            self._put_aside(steps)

    def _read(self, steps: Iterator[Frame | None]) -> None:
        """Handles what was received, as much of it as others can wait for."""
        turnstile, now = self._core.turnstile, self._core.loop.time()
        began = turnstile.clock()
        end, is_all = began + SLICE, True
        for frame in steps:
            if frame is not None and self._closing is None:
                self._handle(frame.opcode, frame.payload, now)
            if turnstile.clock() > end or (self._is_behind() and self._is_overfull()):
                is_all = False
                break
        self.pump.uncork()
        turnstile.spent(turnstile.clock() - began)
        if not is_all or self._is_overfull() or self._is_held():
            self._put_aside(steps)
        elif self._rest is not None:
            self._rest = None
            if self._transport is not None:
                self._transport.resume_reading()
        self._try_to_close()

    def _put_aside(self, steps: Iterator[Frame | None]) -> None:
        """Stands in line, unless the peer has to read first, or to wait: then it goes on with that."""
        if self._transport is not None:
            if self._rest is None:
                self._transport.pause_reading()
            self._rest = steps
            if not (self._is_overfull() or self._is_held()):
                self._core.turnstile.stand_in_line(self)

    def _go_on(self) -> None:
        """The peer has read, or has waited: writes, and reads what is left of what was received."""
        self.pump.run()
        if self._rest is None:
            self._try_to_close()
        elif not (self._is_behind(2) or self._is_held()):
            self._core.turnstile.stand_in_line(self)

    def _read_again(self) -> None:
        """What came too fast has been waited for."""
        self._life = self._core.loop.time()
        self._go_on()

    def _is_held(self) -> bool:
        """Whether the peer has sent too fast, and is read later."""
        return self._life > self._core.loop.time()

    def _is_behind(self, times: int = 1) -> bool:
        """Whether too much waits to be sent, or so many times as much would."""
        queued, limit = self.protocol.queued, self._core.config.hard_limit
        return queued * times > MOST_UNTAKEN or self.pump.waiting * times > limit

    def _is_overfull(self) -> bool:
        """Whether the peer makes us answer and takes no answers: too much waits, after all that can go has gone."""
        if self.protocol.queued or self._is_behind():
            self.pump.run()
        return self._is_behind()
