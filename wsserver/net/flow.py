"""The pump from log to socket: when to write, when to wait.

Live, replay and slow reader are one: the pump sends from its cursor while its gate is open. The gate closes when the
transport could not hand all bytes to the kernel, and opens when it has; so the transport never holds more than one
chunk. What the kernel and the peer do not take stays in the log, where the callback sees it and waits.

Flush by need: after an idle moment of a connection its first event leaves at the end of the same turn of the loop; what
follows within the flush interval leaves together, by one timer for all connections. Where a flush itself takes long, as
with thousands of connections, a busy loop gathers for longer: else each token would be a write of its own again, and
come later.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..chat import envelope
from ..wire.frames import TEXT
from ..wire.protocol import CHUNK_SIZE, State

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Transport
    from collections.abc import Callable

    from ..chat.log import Cursor
    from ..chat.session import Session
    from ..config import Config
    from ..wire.protocol import Protocol

logger = logging.getLogger(__name__)

#: How long a callback may hold the loop while its events wait to be flushed, in seconds.
LONGEST_HOLD = 0.001

#: How much of the log is read at once, in bytes: with its frame headers it goes in one write.
_READ_SIZE = CHUNK_SIZE * 3 // 4

#: No more than one part in so many of the time of a busy loop goes into flushes that take long.
_FLUSH_SHARE = 5

#: A turn of the loop that takes less than this did nothing, in seconds.
_IDLE_TURN = 50e-6


#: Looked up for every message.
_OPEN: Final = State.OPEN


class Flusher:
    """Runs the pumps that were marked: those that rested at the end of the turn of the loop, the others all at once.

    A flush that has not run at `late_after`, by `clock`, waits for a callback that does not let go of the loop.
    """

    __slots__ = (
        "_began",
        "_checked",
        "_due",
        "_gathered",
        "_interval",
        "_loop",
        "_pause",
        "_rested",
        "clock",
        "late_after",
    )

    def __init__(self, loop: AbstractEventLoop, interval: float, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.late_after = inf
        self._loop = loop
        self._interval = interval
        self._pause = interval  # of a pump between two flushes: as long as the interval, or longer
        self._began = -inf  # the last flush
        self._due = inf  # the flush of those that are gathered
        self._checked = 0.0
        self._rested: list[Pump] = []
        self._gathered: list[Pump] = []

    def mark(self, pump: Pump) -> None:
        now = self.clock()
        if now - pump.flushed >= self._pause:
            # Nothing was sent to this one for a while: this is the first event after an idle moment.
            if not self._rested:
                self._loop.call_soon(self._flush_rested)
                self._expect(now)
            self._rested.append(pump)
        else:
            if not self._gathered:
                self._due = pump.flushed + self._pause
                self._loop.call_later(self._interval, self._flush_when_due)
                self._expect(self._due)
            self._gathered.append(pump)

    def _expect(self, due: float) -> None:
        self.late_after = min(self.late_after, due + LONGEST_HOLD)

    def _flush_rested(self) -> None:
        marked, self._rested = self._rested, []
        self.late_after = self._due + LONGEST_HOLD
        self._flush(marked)

    def _flush_when_due(self) -> None:
        # Timers count whole milliseconds and come early. A busy loop gathers more until the time has really come; one
        # that had nothing else to do since the last look is not kept spinning.
        now = self.clock()
        if now < self._due and now - self._checked > _IDLE_TURN:
            self._checked = now
            self._loop.call_soon(self._flush_when_due)
            return
        marked, self._gathered = self._gathered, []
        self._due = inf
        self.late_after = now + LONGEST_HOLD if self._rested else inf
        self._flush(marked)

    def _flush(self, marked: list[Pump]) -> None:
        began = self.clock()
        for pump in marked:
            pump.marked = False
            pump.flushed = began
            try:
                pump.run()
            except Exception:
                # The others must not wait for ever because of this one.
                logger.exception("a connection could not be written to")
        if self._interval:
            # A short flush between long ones does not end their pause.
            left = self._pause - (began - self._began)
            self._pause = max(self._interval, (self.clock() - began) * _FLUSH_SHARE, left)
        self._began = began


class Pump:
    """The way out of one connection: what is not logged through `protocol`, the log through a cursor."""

    __slots__ = (
        "_config",
        "_cursor",
        "_flusher",
        "_milestones",
        "_protocol",
        "_session",
        "_transport",
        "corked",
        "flushed",
        "handed",
        "marked",
        "messages",
        "paused",
    )

    def __init__(self, transport: Transport, protocol: Protocol, flusher: Flusher, config: Config) -> None:
        self.corked = False  # whoever corked it will run it
        self.marked = False
        self.flushed = -inf  # when it was run by the flusher, as that counts time
        self.paused = False  # the gate: the transport holds bytes that the kernel would not take
        self._transport: Transport | None = transport
        self._protocol = protocol
        self._flusher = flusher
        self._config = config
        self.handed = 0  # bytes ever given to the transport
        self.messages = 0  # ever sent
        self._session: Session | None = None
        self._cursor: Cursor | None = None
        # What is to be done once the log has been sent up to an event: in their order, and mostly nothing.
        self._milestones: tuple[tuple[int, Callable[[], object]], ...] = ()
        # A transport of TLS closes the gate at `high` bytes, not above: with 0 even where it holds none, and for ever.
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("sslcontext") else 0, low=0)

    @property
    def taken(self) -> int:
        """Bytes ever taken by the kernel: grows where a reader makes progress."""
        return self.handed - (self._transport.get_write_buffer_size() if self._transport else 0)

    @property
    def behind(self) -> int:
        """Bytes of the log that wait for this reader."""
        return self._cursor.behind if self._cursor is not None and self._protocol.state is _OPEN else 0

    @property
    def waiting(self) -> int:
        """Bytes that wait to be sent, of the log or not."""
        return self._protocol.queued + self.behind

    @property
    def unsent(self) -> int:
        """Bytes that wait, wherever: in the log, in the queue, in the transport."""
        cursor = self._cursor
        if not self.paused and not self._protocol.queued and (cursor is None or cursor.seq == cursor.log.head):
            # So it is with most, and all of them are asked.
            return 0
        return self.waiting + self.handed - self.taken

    def attach(self, session: Session, cursor: Cursor, *, missed: int | None = None) -> None:
        """From now on sends the session's log, from the cursor on.

        `missed` is the last event of what a client has missed that comes back: it is told when that has been sent.
        """
        self._session = session
        self._cursor = cursor
        session.attach(self, cursor)
        if missed is not None:
            self.when_sent(missed, partial(self._tell_replayed, session, cursor, cursor.seq))
            self._pass_milestones(cursor.seq)

    def when_sent(self, seq: int, call: Callable[[], object]) -> None:
        """Calls it once the log has been handed to the transport up to this event; never where that is lost before."""
        self._milestones = (*self._milestones, (seq, call))

    @property
    def seq(self) -> int:
        """The last event of the log that was taken to be sent."""
        assert self._cursor is not None, "a connection of the conversation has a cursor"
        return self._cursor.seq

    def detach(self) -> None:
        """Sends no more: the connection is lost."""
        if self._session is not None and self._session.reader is self:
            self._session.detach()
        self._session = self._cursor = self._transport = None

    def wake(self) -> None:
        """There is something new to send."""
        if not self.marked:
            self.marked = True
            self._flusher.mark(self)

    def send(self, payload: bytes) -> None:
        """A text message that is not in the log, after what was published before it if that can go now."""
        cursor = self._cursor
        if cursor is not None and cursor.seq != cursor.log.head and not self.paused:
            self._read_log(cursor)
        self._protocol.send(TEXT, payload)
        self.messages += 1
        if not self.corked:
            self.wake()

    @property
    def full(self) -> bool:
        """Whether what need not be kept had better not be sent: this reader is behind with what must."""
        return self._protocol.queued > self._config.soft_limit

    def run(self) -> None:
        """Writes as long as the gate is open and there is something to write."""
        transport, protocol, cursor = self._transport, self._protocol, self._cursor
        if transport is None:
            return
        while not self.paused:
            if cursor is not None and cursor.seq != cursor.log.head and not protocol.queued:
                self._read_log(cursor)
            if not protocol.queued or transport.is_closing():
                return
            data = protocol.data_to_send()
            self.handed += len(data)
            transport.write(data)

    def _read_log(self, cursor: Cursor) -> None:
        """Takes the next events from the log, where there are some."""
        session = self._session
        if session is None or self._protocol.state is not _OPEN:
            return
        payloads = cursor.read(_READ_SIZE)
        if not payloads:
            # There are, but they may not be shown yet.
            return
        self._protocol.send_texts(payloads)
        self.messages += len(payloads)
        session.was_read(cursor)
        if self._milestones:
            self._pass_milestones(cursor.seq)

    def _pass_milestones(self, seq: int) -> None:
        while self._milestones and self._milestones[0][0] <= seq:
            (_, call), *rest = self._milestones
            self._milestones = tuple(rest)
            call()

    def _tell_replayed(self, session: Session, cursor: Cursor, first: int) -> None:
        """Says that what was missed, behind event `first`, has been sent."""
        data = {"count": cursor.seq - first, "seq": cursor.seq}
        self._protocol.send(TEXT, envelope.encode_event("replayed", data, session.id))
        self.messages += 1


async def wait_for_room(session: Session, over: Callable[[], bool]) -> None:
    """Returns once more may be published: the reader has caught up, or the log has room; or it is over."""
    while session.must_wait and not over():
        if session.gate is None:
            session.gate = asyncio.Event()
        await session.gate.wait()
