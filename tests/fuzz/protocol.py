"""An open connection: `wire/protocol.py`, `wire/frames.py`, `wire/engine.py`, `wire/deflate.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fuzz.source import Source, seed
from tests.wire.held import held
from tests.wire.masked import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    Outcome,
    close,
    cut,
    ended,
    flush,
    fragmented,
    header,
    masked,
    squeezed,
    unmasked,
)
from wsserver.wire.close import CloseCode
from wsserver.wire.deflate import DeflateParameters
from wsserver.wire.engine import FEED_SIZE
from wsserver.wire.frames import Frame
from wsserver.wire.protocol import Protocol, State

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMITS = (300, 1, 125, 126, 5000, 2**16)
REMEMBERING = DeflateParameters()
FORGETFUL = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)
DEFLATES = (None, REMEMBERING, FORGETFUL, DeflateParameters(server_max_window_bits=9, client_max_window_bits=9))

#: Masks that change nothing: what a fuzzer changes in a payload is changed there.
_ZERO = b"\0\0\0\0"


def _plain(opcode: int, payload: bytes = b"", **how: Any) -> bytes:
    return masked(opcode, payload, mask=_ZERO, **how)


def _stream(*frames: bytes, limit: int = 0, deflate: int = 0, places: bytes = b"\0") -> bytes:
    return seed(limit, deflate, places, b"\0\0", *frames)


_TEXT = "é 退款 😀".encode()

SEEDS = [
    _stream(_plain(TEXT, b"hello"), _plain(PING, b"1"), _plain(BINARY, b"\0\xff"), close(1000, b"bye")),
    _stream(_plain(TEXT, _TEXT), masked(TEXT, _TEXT), places=b"\2\0\3\0\x0b"),
    _stream(*(frame for frame in fragmented(TEXT, _TEXT[:3], b"", _TEXT[3:])), _plain(PONG)),
    _stream(_plain(TEXT, b"a", fin=False), _plain(PING, b"x"), _plain(CONTINUATION, b"b"), places=b"\1\0\2"),
    _stream(_plain(TEXT, b"x" * 126), _plain(TEXT, b"x" * 125), _plain(CLOSE), limit=2),
    _stream(header(BINARY, 2**16) + _ZERO + b"@@", limit=5, places=b"\1\1\0"),
    _stream(header(TEXT, 301) + _ZERO, b"abc"),
    _stream(header(BINARY, 2**63) + _ZERO),
    _stream(header(BINARY, 5, width=2) + _ZERO + b"12345"),
    _stream(_plain(TEXT, b"\xed\xa0\x80")),
    _stream(_plain(TEXT, b"\xf0\x9f", fin=False), _plain(CONTINUATION, b"\x98"), places=b"\1\0\6"),
    _stream(_plain(BINARY, b"a", fin=False), _plain(BINARY, b"b")),
    _stream(_plain(CONTINUATION, b"b")),
    _stream(_plain(PING, b"x", fin=False)),
    _stream(header(PING, 126) + _ZERO),
    _stream(unmasked(TEXT, b"hello")),
    _stream(_plain(3, b"x"), _plain(11)),
    _stream(_plain(CLOSE, b"\x03"), _plain(TEXT, b"late")),
    _stream(close(1005), _plain(TEXT, b"late")),
    _stream(close(4999, _TEXT), _plain(TEXT, b"late"), places=b"\1\0\2"),
    _stream(_plain(TEXT, squeezed(b"hello" * 20), rsv=RSV1), _plain(TEXT, b"plain"), deflate=1),
    _stream(_plain(TEXT, squeezed(b"a" * 301), rsv=RSV1), deflate=2, places=b"\1\0\7"),
    _stream(_plain(TEXT, squeezed(b"a" * 70_000), rsv=RSV1), limit=5, deflate=3),
    _stream(_plain(TEXT, ended(b"hello") + b"\0", rsv=RSV1), _plain(TEXT, ended(b"x"), rsv=RSV1), deflate=1),
    _stream(_plain(TEXT, squeezed(b"hello")[:2], rsv=RSV1, fin=False), _plain(PING), deflate=1),
    _stream(_plain(TEXT, b"\0\2\0\xfd\xffab", rsv=RSV1), _plain(TEXT, b"\xff\xff", rsv=RSV1), deflate=1),
    _stream(*fragmented(TEXT, squeezed(_TEXT)[:4], squeezed(_TEXT)[4:], rsv=RSV1), deflate=2, places=b"\1\0\5"),
]


def _hear(protocol: Protocol, chunks: Iterable[bytes], limit: int) -> Outcome:
    """What comes of these reads of the socket; what is kept between two of them has its bound."""
    messages: list[Frame] = []
    # A message over the limit is found out when what makes it so is fed, compressed or not, in two pieces at most.
    most = limit + limit // 2**12 + 64 + 3 * FEED_SIZE
    for chunk in chunks:
        text = protocol.receive_text(chunk)
        messages += [Frame(TEXT, text)] if text is not None else protocol.receive_data(chunk)
        assert held(protocol) - protocol.queued <= (most if protocol.state is State.OPEN else 200)
    return Outcome(messages, flush(protocol), protocol.state, protocol.close_code, protocol.close_reason)


def one(data: bytes) -> None:
    """Any stream of a client, cut anywhere, gives the same messages, answers and end with the lanes as with wsproto
    alone; no message is over the limit, nothing follows a Close, and what is held in between is bounded.
    """
    source = Source(data)
    limit, deflate = source.choose(LIMITS), source.choose(DEFLATES)
    places = source.places()
    stream = source.filled(0xFFFF)
    (first, other), (pieces, others) = (
        [_hear(Protocol(limit, deflate=deflate, lanes=lanes), cut(stream, where), limit) for lanes in (True, False)]
        for where in ([], places)
    )
    assert (other, others) == (first, pieces)
    # zlib reads ahead as far as it can: of damage just behind what is too much either may be seen first.
    either = {CloseCode.MESSAGE_TOO_BIG, CloseCode.INVALID_PAYLOAD}
    assert pieces == first or (deflate is not None and {first.code, pieces.code} == either)
    for message in first.messages:
        assert len(message.payload) <= limit and message.opcode in (TEXT, BINARY)
        if message.opcode == TEXT:
            message.payload.decode()
    # Pongs and one Close are the only answers, so their lengths take one byte.
    sent, opcodes = first.sent, []
    assert len(sent) <= len(stream) + 2 + 125
    while sent:
        opcodes.append(sent[0] & 0x0F)
        assert sent[1] <= 125 and len(sent) >= 2 + sent[1]
        sent = sent[2 + sent[1] :]
    assert opcodes.count(CLOSE) == (first.state is State.CLOSED)
    assert set(opcodes[:-1]) <= {PONG}
