"""The server's side of an open WebSocket connection: bytes in and out, and its state (RFC 6455).

::

    OPEN ──send_close──▶ CLOSING ──peer's Close──▶ CLOSED
      ├────────peer's Close, answered──────────────▶
      └────────fail: a protocol error──────────────▶

Knows no sockets, no clock and no application. In OPEN, whole frames take the lanes; the rest goes to the engine, made
when needed and dropped at rest. In CLOSING only the peer's Close still counts. In CLOSED nothing is read.
Nothing follows a Close: what is sent after it is dropped.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from ..errors import ProtocolError
from . import frames, pieces
from .close import CloseCode, decode_close, encode_close
from .deflate import MIN_COMPRESSED_SIZE, Deflate
from .engine import Engine
from .frames import CLOSE, PING, PONG, TEXT, Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .deflate import DeflateParameters
    from .pieces import Pieces

#: The most bytes that `data_to_send` gives at once.
CHUNK_SIZE = 2**16

#: Pieces smaller than this are put together while they wait.
_SMALL = 2**12


#: Stands for what waits to be sent wherever nothing does: an idle connection pays for no list.
_NOTHING: list[bytes | memoryview] = []


class State(Enum):
    """Of the connection, from the opening handshake on (RFC 6455, sections 4 and 7)."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


#: Looked up for every message.
_OPEN: Final = State.OPEN


class Protocol:
    """One connection after its opening handshake.

    `opening` is the answer to the handshake, the first bytes to send. `limit` is the largest incoming message in bytes,
    over all its fragments and inflated. With `lanes` off every frame goes through the engine, both ways, to the same
    effect.
    """

    __slots__ = (
        "_deflate",
        "_engine",
        "_lanes",
        "_limit",
        "_outgoing",
        "close_code",
        "close_reason",
        "closed_by_peer",
        "queued",
        "state",
    )

    def __init__(
        self, limit: int, *, opening: bytes = b"", deflate: DeflateParameters | None = None, lanes: bool = True
    ) -> None:
        self.state = State.OPEN
        self.close_code: int = CloseCode.ABNORMAL  # of the first Close, whoever sent it
        self.close_reason = ""
        self.closed_by_peer = False
        self.queued = 0  # bytes waiting for `data_to_send`
        self._limit = limit
        self._lanes = lanes
        self._deflate = Deflate(deflate, limit) if deflate else None
        self._engine: Engine | Pieces | None = None  # what has begun to read a frame, or a message, and has not ended
        self._outgoing = _NOTHING
        self._queue(opening)

    def receive_data(self, data: bytes) -> Iterator[Frame]:
        """The messages that `data` completes, as TEXT and BINARY frames, read as far as they are asked for.

        So an answer to one leaves before the answer to what comes behind it: pings are answered and Closes acted on
        here, each in its place. Watch `state` afterwards. Raises nothing.
        """
        return (frame for frame in self.steps(data) if frame is not None)

    def steps(self, data: bytes) -> Iterator[Frame | None]:
        """The same step by step: None for each that completes no message, so that the caller can count its work."""
        try:
            yield from self._read(data)
        except ProtocolError as exc:
            self.fail(exc.code, exc.reason)

    def receive_text(self, data: bytes) -> bytes | None:
        """The text message that `data` is, if it is one and nothing else, as most are; None: nothing was read."""
        if self._engine is None and self._lanes and self.state is _OPEN:
            return frames.decode_text(data, self._limit)
        return None

    def receive_eof(self) -> None:
        """The peer's bytes have ended: without its Close the connection was closed abnormally (section 7.1.5)."""
        self._end()

    def send(self, opcode: int, payload: bytes) -> None:
        """A whole message or control frame; text must be UTF-8."""
        if self.state is not _OPEN:
            return
        if self._deflate is not None or not self._lanes:
            self._queue(self._encode(opcode, payload))
        elif len(payload) < CHUNK_SIZE:
            self._queue(frames.encode(opcode, payload))
        else:
            # It is copied when it leaves, and not before.
            self._queue(frames.encode_header(opcode, len(payload)))
            self._queue(payload)

    def send_texts(self, payloads: Sequence[bytes]) -> None:
        """Text messages, each in its own frame; must be UTF-8."""
        if self.state is _OPEN:
            self._queue(self._encode_texts(payloads))

    def texts_to_send(self, payloads: Sequence[bytes]) -> bytes:
        """The same where nothing else is queued: the next bytes for the transport. What is too much is queued."""
        if self.state is not _OPEN:
            return b""
        data = self._encode_texts(payloads)
        if len(data) <= CHUNK_SIZE:
            return data
        self._queue(data)
        return self.data_to_send()

    def _encode_texts(self, payloads: Sequence[bytes]) -> bytes:
        if self._lanes and self._deflate is None:
            return frames.encode_texts(payloads)
        return b"".join([self._encode(TEXT, payload) for payload in payloads])

    def send_close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begins the closing handshake (section 7.1.2)."""
        if self.state is _OPEN:
            self._queue(self._encode(CLOSE, encode_close(code, reason)))
            self.state = State.CLOSING
            self.close_code, self.close_reason = code, reason

    def fail(self, code: int, reason: str) -> None:
        """_Fail the WebSocket Connection_ (section 7.1.7): say why, and read no more."""
        self.send_close(code, reason)
        self._end()

    def data_to_send(self) -> bytes:
        """The next bytes for the transport, at most `CHUNK_SIZE` of them."""
        outgoing = self._outgoing
        if self.queued <= CHUNK_SIZE:
            self._outgoing = _NOTHING
            self.queued = 0
            return b"".join(outgoing)
        size = count = 0
        while size + len(outgoing[count]) <= CHUNK_SIZE:
            size += len(outgoing[count])
            count += 1
        rest = memoryview(outgoing[count])
        chunk = [*outgoing[:count], rest[: CHUNK_SIZE - size]]
        outgoing[: count + 1] = [rest[CHUNK_SIZE - size :]]
        self.queued -= CHUNK_SIZE
        return b"".join(chunk)

    def _queue(self, data: bytes) -> None:
        if not data:
            return
        self.queued += len(data)
        if not self._outgoing:
            self._outgoing = [data]
            return
        last = self._outgoing[-1]
        if isinstance(last, bytes) and len(last) < _SMALL and len(data) < _SMALL:
            # An object for each unread pong would take thirty times its bytes.
            self._outgoing[-1] = last + data
        else:
            self._outgoing.append(data)

    def _encode(self, opcode: int, payload: bytes) -> bytes:
        if not self._lanes:
            return self._engine_of_all().encode(opcode, payload)
        if self._deflate is not None and not opcode & 0x8 and len(payload) >= MIN_COMPRESSED_SIZE:
            return frames.encode(opcode, self._deflate.compress(payload), compressed=True)
        return frames.encode(opcode, payload)

    def _engine_of_all(self) -> Engine:
        engine = self._engine
        if not isinstance(engine, Engine):
            engine = self._engine = Engine(self._limit, self._deflate)
        return engine

    def _begin(self, data: bytes, start: int) -> tuple[Engine | Pieces, int]:
        """Who is to read the frame at `start`, which the lane of whole frames did not take, and from where on."""
        begun = pieces.begin(data, start, self._limit) if self._lanes else None
        if begun is None:
            return self._engine_of_all(), start
        self._engine = begun[0]
        return begun

    def _read(self, data: bytes) -> Iterator[Frame | None]:
        position = 0
        while position < len(data) and self.state is not State.CLOSED:
            frame: Frame | None
            taken = frames.decode(data, position, self._limit) if self._engine is None and self._lanes else None
            if taken is not None:
                frame, position = taken
            else:
                engine = self._engine
                if engine is None:
                    engine, position = self._begin(data, position)
                frame, position = engine.receive(data, position)
                if self._lanes and engine.at_rest:
                    self._engine = None
            yield self._act(frame) if frame is not None else None

    def _act(self, frame: Frame) -> Frame | None:
        """Does what the protocol itself has to do with a frame; the frame, if it is a message."""
        if frame.opcode == CLOSE:
            self._accept_close(frame.payload)
        elif self.state is not _OPEN:
            # "An endpoint ... discards any further data received" after its Close (section 1.4).
            return None
        elif frame.opcode == PING:
            self._queue(self._encode(PONG, frame.payload))
        elif frame.opcode != PONG:
            return frame
        return None

    def _accept_close(self, payload: bytes) -> None:
        if self.state is State.OPEN:
            code, reason = decode_close(payload) or (CloseCode.NO_STATUS, "")
            # "the endpoint typically echos the status code it received" (section 5.5.1).
            self.send_close(code)
            self.close_reason = reason
            self.closed_by_peer = True
        self._end()

    def _end(self) -> None:
        self.state = State.CLOSED
        # Nothing is read any more: what was left of a message waits for nobody while the socket is closed.
        self._engine = self._deflate = None
