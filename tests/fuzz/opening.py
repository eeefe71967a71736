"""The client's opening handshake: what it makes of the answer (`wire/client.py`)."""

from __future__ import annotations

from tests.fuzz.source import Source, seed
from tests.wire.masked import cut
from wsserver.errors import HandshakeError
from wsserver.wire.client import Client, State
from wsserver.wire.handshake import RequestReader, accept_token, parse_upgrade

#: In an answer these bytes stand for what the key of the request asks for.
_ACCEPT = b"{accept}"

#: No longer answer is ever held, but for the read with which it becomes too long.
LIMIT = 2**16

_ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: wsserver.v1\r\n"
)

SEEDS = [
    seed(0, b"\0\0", _ANSWER, b"\r\n"),
    seed(2, b"\0\7", b"\0\x30", b"\0\0", _ANSWER, b"\r\n\x81\2hi"),
    seed(0, b"\0\0", _ANSWER, b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
    seed(0, b"\0\0", _ANSWER.replace(b"{accept}", b"x"), b"\r\n"),
    seed(0, b"\0\0", _ANSWER.replace(b"wsserver.v1", b"chat"), b"\r\n"),
    seed(0, b"\0\0", b"HTTP/1.1 100 Continue\r\n\r\n", _ANSWER, b"\r\n"),
    seed(0, b"\0\0", b"HTTP/1.1 429 Too Many\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nslow"),
    seed(1, b"\0\x40", b"\0\0", b"HTTP/1.1 503 \r\nContent-Type: text/plain\r\nRetry-After: 5\r\n\r\nfull\nx"),
    seed(0, b"\0\0", b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
    seed(0, b"\xff\0", b"HTTP/1.0 200 OK\r\n\r\n@@"),
    seed(0, b"\xff\0", b"HTTP/1.1 101 @@"),
    seed(0, b"\xff\0", b"HTTP/1.1 200 \r\nContent-Length: 99999\r\n\r\n@@@@"),
    seed(0, b"\xff\0", b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 100 @@@@"),
    seed(0, b"\0\0", b"SSH-2.0-OpenSSH_9\r\n"),
    seed(0, b"\0\0", b"HTTP/1.1 204 \r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
]


def _open(stream: bytes, places: list[int]) -> tuple[State, object, bytes]:
    """The state once the bytes have ended, why it was refused, and the state before that."""
    client = Client("localhost", "/", subprotocols=("wsserver.v1", "bearer.x"), limit=300)
    request = RequestReader().receive_data(client.data_to_send())
    assert request is not None
    stream = stream.replace(_ACCEPT, accept_token(parse_upgrade(request).key).encode())
    size = 0
    for chunk in cut(stream, places):
        size += len(chunk)
        client.receive_data(chunk)
        assert client.state is not State.CONNECTING or size <= LIMIT
        assert (client.state is State.CLOSED) or client.opening_error is None
    opened = client.opening_error is None and client.state is not State.CONNECTING
    client.receive_eof()
    assert client.state is State.CLOSED
    error = client.opening_error
    assert (error is None) == opened
    if isinstance(error, HandshakeError):
        assert 100 <= error.status <= 999 and "\n" not in error.message
        return client.state, error.status, b""
    return client.state, opened, b""


def one(data: bytes) -> None:
    """Whatever answers a client's handshake, cut anywhere, opens the connection only where it is the one answer that
    RFC 6455 knows, or says why not, holds no more than its bound, and never raises.
    """
    source = Source(data)
    places = source.places()
    stream = source.filled(0xFFFF)
    whole = _open(stream, [])
    assert _open(stream, places) == whole or len(stream) > LIMIT
    if whole[1] is True:
        assert _ACCEPT in stream and b"101" in stream and b"wsserver.v1" in stream
