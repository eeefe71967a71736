"""The pump from log to socket: when to write, when to wait.

Live, replay and slow reader are one: the pump sends from its cursor while its gate is open. The gate closes when the
transport could not hand all bytes to the kernel, and opens when it has; so the transport never holds more than one
chunk. What the kernel and the peer do not take stays in the log, where the callback sees it and waits.
"""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from ..chat import envelope
from ..wire.frames import TEXT
from ..wire.protocol import CHUNK_SIZE, State

if TYPE_CHECKING:
    from asyncio import Transport
    from collections.abc import Callable

    from ..chat.log import Cursor
    from ..chat.session import Session
    from ..config import Config
    from ..wire.protocol import Protocol
    from .flusher import Flusher

T = TypeVar("T")

#: How much of the log is read at once, in bytes: with its frame headers it goes in one write.
_READ_SIZE = CHUNK_SIZE * 3 // 4

#: Looked up for every message.
_OPEN: Final = State.OPEN


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
        self.corked = False  # whoever corked it will uncork it
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
        """There is something new to send. While it is corked it is sent later."""
        if not (self.marked or self.corked):
            self.marked = True
            self._flusher.mark(self)

    def send(self, payload: bytes) -> None:
        """A text message that is not in the log, after what was published before it if that can go now."""
        cursor = self._cursor
        if cursor is not None and cursor.seq != cursor.log.head and not self.paused:
            self._read_log(cursor, self._protocol.send_texts)
            self._pass_milestones(cursor.seq)
        self._protocol.send(TEXT, payload)
        self.messages += 1
        if not self.corked:
            self.wake()

    def uncork(self) -> None:
        """Sends what came up meanwhile: where that is of the log, together with what a callback shows at once."""
        self.corked = False
        cursor = self._cursor
        if cursor is None or cursor.seq == cursor.log.head or self.marked:
            self.run()
        else:
            self.marked = True
            self._flusher.flush_soon(self)

    @property
    def full(self) -> bool:
        """Whether what need not be kept had better not be sent: this reader is behind with what must."""
        return self._protocol.queued > self._config.soft_limit

    def run(self) -> None:
        """Writes as long as the gate is open and there is something to write."""
        transport, protocol, cursor = self._transport, self._protocol, self._cursor
        if transport is None:
            return
        while not (self.paused or transport.is_closing()):
            if protocol.queued:
                data = protocol.data_to_send()
            elif cursor is None or cursor.seq == cursor.log.head:
                return
            else:
                # Past the queue: tokens are most of what is sent.
                data = self._read_log(cursor, protocol.texts_to_send) or b""
            if not data:
                return
            self.handed += len(data)
            transport.write(data)
            if self._milestones and cursor is not None:
                self._pass_milestones(cursor.seq)

    def _read_log(self, cursor: Cursor, send: Callable[[list[bytes]], T]) -> T | None:
        """Sends the next events of the log, where there are some: what `send` says to them."""
        session = self._session
        if session is None or self._protocol.state is not _OPEN:
            return None
        payloads = cursor.read(_READ_SIZE)
        if not payloads:
            # There are, but they may not be shown yet.
            return None
        sent = send(payloads)
        self.messages += len(payloads)
        session.was_read(cursor)
        return sent

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
