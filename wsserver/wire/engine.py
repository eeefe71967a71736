"""The framing engine: wsproto, watched by an extension of ours.

wsproto checks and cuts frames. What it cannot do is done in its extension hooks, which see every header, every piece
of payload and every end of a frame: refuse an announced length, inflate with a bound, collect messages as bytes, and
tell where a frame ends. The engine is never fed beyond the end of the current frame, so between two frames it holds
nothing and may be dropped for the lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsproto import events
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, RsvBits

from ..errors import ProtocolError
from .close import CloseCode, encode_close
from .deflate import MIN_COMPRESSED_SIZE
from .frames import BINARY, CLOSE, PING, PONG, TEXT, Frame
from .message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsproto.frame_protocol import FrameDecoder, FrameProtocol
    from wsproto.frame_protocol import Opcode as WsprotoOpcode

    from .deflate import Deflate

#: The engine is fed in pieces of this size: what it copies on the way stays small beside the message.
FEED_SIZE = 2**12

#: What a compressed message may be longer than its content: 5 bytes for each stored block of incompressible data.
_STORED_BLOCK = 2**12

_CONTINUATION = 0x0


class _Message(Message):
    """A message whose frames the engine reads; `wire_size` is how many bytes of it have come."""

    __slots__ = ("compressed", "wire_size")

    def __init__(self, opcode: int, compressed: bool) -> None:
        super().__init__(opcode)
        self.compressed = compressed
        self.wire_size = 0


class _Watch(Extension):
    """Sees what wsproto does with each frame. `refusal` is the close code and the reason of what it refused."""

    name = "watch"
    offer = Extension.enabled  # no: only wsproto's own handshake, which is not ours, would ask

    def __init__(self, limit: int, deflate: Deflate | None) -> None:
        self.deflate = deflate
        # Not the exception: its traceback would hold all that was received as long as the engine is there.
        self.refusal: tuple[int, str] | None = None
        self.frame_size = 0  # of the current frame with its header; 0 while its header is incomplete
        self.frame_ended = False
        self.message: _Message | None = None  # the one under way
        self.finished: _Message | None = None  # the one that ended last
        self._limit = limit
        self._opcode = _CONTINUATION
        self._frame_message: _Message | None = None  # the one that the current frame adds to

    def enabled(self) -> bool:
        return True

    def _refuse(self, error: ProtocolError) -> CloseReason:
        self.refusal = error.code, error.reason
        return CloseReason(error.code)

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: WsprotoOpcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        # Called again while the mask is missing: nothing here may count twice.
        self._opcode = opcode
        extended = 0 if payload_length < 126 else 2 if payload_length < 2**16 else 8
        self.frame_size = 2 + extended + 4 + payload_length
        compressed = self.deflate is not None and rsv.rsv1 and opcode in (TEXT, BINARY)
        if not opcode.iscontrol():
            known = self.message.wire_size if self.message else 0
            squeezed = compressed or (self.message is not None and self.message.compressed)
            room = self._limit - known + (self._limit // _STORED_BLOCK + 64 if squeezed else 0)
            if payload_length > room:
                return self._refuse(ProtocolError(CloseCode.MESSAGE_TOO_BIG, "message over the limit"))
            # A frame out of order belongs to no message of ours: wsproto is about to refuse it.
            if opcode == _CONTINUATION:
                self._frame_message = self.message
            elif self.message is None:
                self._frame_message = _Message(opcode, compressed)
            else:
                self._frame_message = None
        return RsvBits(compressed, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        message = self._frame_message
        if self._opcode >= CLOSE or message is None:
            return data
        self.message = message
        message.wire_size += len(data)
        try:
            if message.compressed and self.deflate is not None:
                for piece in self.deflate.inflate(data):
                    message.append(piece)
            else:
                message.append(data)
        except ProtocolError as exc:
            return self._refuse(exc)
        return b""

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        message = self._frame_message
        self.frame_ended = True
        if self._opcode >= CLOSE or not fin or message is None:
            return None
        try:
            if message.compressed and self.deflate is not None:
                for piece in self.deflate.finish():
                    message.append(piece)
            message.append(b"", final=True)
        except ProtocolError as exc:
            return self._refuse(exc)
        self.finished, self.message, self._frame_message = message, None, None
        return None

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: WsprotoOpcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        # No control frame is so long.
        if self.deflate is None or len(data) < MIN_COMPRESSED_SIZE:
            return rsv, data
        return RsvBits(True, False, False), self.deflate.compress(data)


class Engine:
    """wsproto's side of one connection. `limit` is the largest message in bytes, over all its fragments."""

    __slots__ = ("_connection", "_fed", "_second", "_watch")

    def __init__(self, limit: int, deflate: Deflate | None) -> None:
        self._watch = _Watch(limit, deflate)
        self._connection = Connection(ConnectionType.SERVER, [self._watch])
        self._fed = 0  # bytes of the current frame
        self._second = 0  # its second byte

    @property
    def at_rest(self) -> bool:
        """Whether it holds nothing: between two frames and outside of a fragmented message."""
        return self._fed == 0 and self._watch.message is None

    def receive(self, data: bytes, start: int) -> tuple[Frame | None, int]:
        """Takes bytes up to the end of the current frame at most; the message they ended, and the next position.

        Raises `ProtocolError` where RFC 6455 says to fail the connection.
        """
        if self._watch.frame_size:
            wanted = self._watch.frame_size - self._fed
        elif self._fed < 2:
            wanted = 2 - self._fed
        else:
            wanted = (4 if self._second & 0x7F == 126 else 10) - self._fed
        end = min(start + wanted, start + FEED_SIZE, len(data))
        self._fed += end - start
        if self._fed == 2:
            self._second = data[end - 1]
        self._connection.receive_data(data[start:end])
        frame = None
        for event in self._connection.events():
            frame = self._translate(event)
        if self._watch.frame_ended:
            self._watch.frame_ended = False
            self._watch.frame_size = self._fed = 0
        return frame, end

    def encode(self, opcode: int, payload: bytes) -> bytes:
        """A frame as wsproto writes it: what the lanes must equal byte for byte."""
        return self._connection.send(_OUTGOING[opcode](payload))

    def _translate(self, event: Event) -> Frame | None:
        if isinstance(event, events.Message):
            message = self._watch.finished
            if not event.message_finished or message is None:
                return None
            self._watch.finished = None
            return message.whole()
        if isinstance(event, Ping):
            return Frame(PING, bytes(event.payload))
        if isinstance(event, Pong):
            return Frame(PONG, bytes(event.payload))
        assert isinstance(event, CloseConnection)
        if self._connection.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            # No Close frame came: this is how wsproto tells that it cannot go on.
            raise ProtocolError(*(self._watch.refusal or (event.code, event.reason or "")))
        return Frame(CLOSE, encode_close(event.code, event.reason or ""))


def _close_event(payload: bytes) -> CloseConnection:
    if not payload:
        # wsproto knows this code by identity; any other that may not travel it replaces by 1000.
        return CloseConnection(CloseReason.NO_STATUS_RCVD)
    return CloseConnection(int.from_bytes(payload[:2], "big"), payload[2:].decode())


_OUTGOING: dict[int, Callable[[bytes], Event]] = {
    TEXT: lambda payload: TextMessage(payload.decode()),
    BINARY: BytesMessage,
    CLOSE: _close_event,
    PING: Ping,
    PONG: Pong,
}
