"""The client's side of an open connection: `wire/client.py`."""

from __future__ import annotations

from typing import NamedTuple

from tests.fuzz.source import Source, seed
from tests.wire.masked import BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT, answered, cut, header, unmasked
from wsserver.wire.client import Client, State
from wsserver.wire.close import CloseCode, encode_close
from wsserver.wire.frames import Frame
from wsserver.wire.protocol import Protocol
from wsserver.wire.protocol import State as ServerState

LIMIT = 300


def _framed(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    return header(opcode, len(payload), fin=fin, rsv=rsv, masked=False) + payload


def _stream(*frames: bytes, leaves: int = 0, places: bytes = b"\0") -> bytes:
    return seed(leaves, places, b"\0\0", *frames)


_TEXT = "é 退款 😀".encode()

SEEDS = [
    _stream(unmasked(TEXT, b'{"event":"token"}'), unmasked(PING, b"1"), answered(1000, "bye")),
    _stream(unmasked(TEXT, _TEXT), places=b"\2\0\3\0\x0b"),
    _stream(_framed(TEXT, b"a", fin=False), _framed(PING), _framed(CONTINUATION, b"b"), places=b"\1\0\2"),
    _stream(_framed(TEXT, b"\xf0\x9f", fin=False), _framed(CONTINUATION, b"\x98"), places=b"\1\0\3"),
    _stream(unmasked(BINARY, b"\0")),
    _stream(header(TEXT, 301, masked=False), b"abc"),
    _stream(header(TEXT, 2**63, masked=False), b"@@"),
    _stream(unmasked(TEXT, b"x" * 300), unmasked(TEXT, b"x" * 301)),
    _stream(_framed(TEXT, b"x" * 300, fin=False), _framed(CONTINUATION, b"x"), places=b"\1\0\2"),
    _stream(unmasked(TEXT, b"late"), unmasked(PING), answered(1000), leaves=2),
    _stream(unmasked(TEXT, b"hello"), unmasked(TEXT, b"late"), answered(1001), leaves=5, places=b"\1\0\2"),
    _stream(unmasked(CLOSE), unmasked(TEXT, b"late")),
    _stream(unmasked(CLOSE, b"\3"), unmasked(TEXT, b"late")),
    _stream(answered(1005)),
    _stream(unmasked(PONG, b"x"), _framed(TEXT, b"x", rsv=RSV1)),
    _stream(header(TEXT, 3), b"\0\0\0\0abc"),
]


class _Heard(NamedTuple):
    messages: list[str]
    sent: list[Frame]
    state: State
    reason: str
    code: int


def _hear(stream: bytes, places: list[int], leaves_at: int | None) -> _Heard:
    """What a client makes of a stream that is cut at these places, and at that where it closes by itself."""
    client = Client("localhost", "/ws/chat", subprotocols=("wsserver.v1",), limit=LIMIT)
    client.data_to_send()
    # The answer to its handshake is the matter of another harness.
    client.state = State.OPEN
    messages: list[str] = []
    at = 0
    for chunk in cut(stream, [*places, *([] if leaves_at is None else [leaves_at])]):
        if at == leaves_at:
            client.send_close(1000, "bye")
            client.send_text("late")
        before, state = len(messages), client.state
        messages += client.receive_data(chunk)
        assert state is State.OPEN or len(messages) == before
        at += len(chunk)
    client.send_text("x")
    client.send_ping()
    # Our own server understands what it says, whatever masks it chose.
    server = Protocol(2**16)
    sent = [*server.receive_data(client.data_to_send())]
    if client.state is State.OPEN:
        assert sent == [Frame(TEXT, b"x")] and server.state is ServerState.OPEN
    else:
        assert sent == [] and server.state is ServerState.CLOSED
    sent.append(Frame(CLOSE, encode_close(server.close_code, server.close_reason)))
    client.receive_eof()
    assert client.state is State.CLOSED
    return _Heard(messages, sent, client.state, client.close_reason, client.close_code)


def one(data: bytes) -> None:
    """Whatever a server sends on an open connection, cut anywhere, gives a client the same messages and the same end,
    no message over its limit or behind its Close, and never an exception.
    """
    source = Source(data)
    leaves_at = source.choose((None, None, 0, 1, 4, 16))
    places = source.places()
    stream = source.filled(0xFFFF)
    whole, pieces = _hear(stream, [], leaves_at), _hear(stream, places, leaves_at)
    for message in whole.messages:
        assert len(message.encode()) <= LIMIT
    assert pieces.messages == whole.messages and pieces.state == whole.state
    # A message may be over the limit and no UTF-8 both: which of it is seen first is the network's to say.
    either = {CloseCode.MESSAGE_TOO_BIG, CloseCode.INVALID_PAYLOAD}
    if not {whole.code, pieces.code} <= either:
        assert pieces == whole
