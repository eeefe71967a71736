"""The opening handshake: `wire/handshake.py`, `wire/requests.py`, and the answers."""

from __future__ import annotations

import h11

from tests.fuzz.source import Source, seed
from tests.wire.masked import cut
from wsserver.errors import HandshakeError
from wsserver.wire.deflate import negotiate
from wsserver.wire.handshake import (
    Request,
    RequestReader,
    accept,
    accept_and_close,
    accept_token,
    parse_upgrade,
    refuse,
)

#: What README promises: no more of a handshake is ever held.
LIMIT = 2**14

STATUSES = {400, 405, 426, 431}

_UPGRADE = (
    b"GET /ws/chat?a=%C3%A9&access_token=x HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: wsserver.v1, bearer.abc\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
)

SEEDS = [
    seed(0, b"\0\0", _UPGRADE, b"\r\n"),
    seed(0, b"\0\0", _UPGRADE, b"\r\n\x81\x80\0\0\0\0"),
    seed(2, b"\0\x20", b"\0\x60", b"\0\0", _UPGRADE, b"\r\n"),
    seed(0, b"\x3c\0", _UPGRADE, b"X-Long: @@\r\n\r\n"),
    seed(0, b"\x3e\x80", _UPGRADE, b"X-Long: @@\r\n\r\n"),
    seed(0, b"\x41\0", _UPGRADE, b"X-Long: @@\r\n\r\n"),
    seed(1, b"\1\0", b"\x41\0", _UPGRADE, b"X-Long: @@"),
    seed(0, b"\0\0", _UPGRADE.replace(b"13\r\n", b"8\r\n"), b"\r\n"),
    seed(0, b"\0\0", _UPGRADE.replace(b"\r\n", b"\n"), b"\n"),
    seed(0, b"\0\0", _UPGRADE, b"Content-Length: 3\r\n\r\nabc"),
    seed(0, b"\0\0", _UPGRADE, b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    seed(0, b"\0\0", _UPGRADE, b"Expect: 100-continue\r\nX: a\r\n b\r\nX: c\r\n\r\n"),
    seed(0, b"\0\0", b"GET http://a:b@[::1]:80/x%?q HTTP/1.1\r\nHost: x\r\n\r\n"),
    seed(0, b"\0\0", b"POST /healthz HTTP/1.0\r\n\r\n"),
    seed(0, b"\0\0", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n"),
    seed(0, b"\0\0", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    seed(0, b"\0\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
]


def _read(chunks: list[bytes]) -> tuple[Request | HandshakeError | None, bytes]:
    """What these reads of the socket make, and what is left behind it."""
    reader = RequestReader()
    for number, chunk in enumerate(chunks, 1):
        try:
            request = reader.receive_data(chunk)
        except HandshakeError as exc:
            return exc, b""
        if request is not None:
            return request, reader.trailing_data + b"".join(chunks[number:])
    return None, b""


def _check_answer(answer: bytes, status: int) -> list[tuple[bytes, bytes]]:
    """It is HTTP, one whole answer of this status and nothing else; returns its headers."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x"), ("Upgrade", "websocket")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    head = client.next_event()
    assert isinstance(head, h11.Response | h11.InformationalResponse) and head.status_code == status
    if isinstance(head, h11.Response):
        events = [client.next_event(), client.next_event()]
        assert [type(event) for event in events] == [h11.Data, h11.EndOfMessage]
        assert client.their_state is h11.MUST_CLOSE or client.their_state is h11.CLOSED
    assert client.trailing_data[0] == b""
    return list(head.headers)


def one(data: bytes) -> None:
    """Whatever is sent, in one piece or cut anywhere, is refused by a whole answer, makes one request that takes not a
    byte too many, or is no longer than what may be held; only `HandshakeError` is ever raised.
    """
    source = Source(data)
    places = source.places()
    stream = source.filled(17_000)
    # The lane takes whole requests only: cut behind its first byte, h11 reads it.
    (found, behind), *others = (_read(list(cut(stream, where))) for where in ([], [1], places))
    for other, left in others:
        assert type(other) is type(found)
        if isinstance(other, HandshakeError) and isinstance(found, HandshakeError):
            assert other.status == found.status or (len(stream) > LIMIT and {other.status, found.status} == {400, 431})
        else:
            assert (other, left) == (found, behind)
    if found is None:
        assert len(stream) <= LIMIT
        return
    if isinstance(found, Request):
        assert stream.endswith(behind)
        taken = stream[: len(stream) - len(behind)]
        assert len(taken) <= LIMIT
        assert _read([taken]) == (found, b"") and _read([taken[:-1]]) == (None, b"")
        assert not found.query or len(found.query) < 3 or found.query not in repr(found)
        found = _judge(found)
    if found is not None:
        assert found.status in STATUSES
        _check_answer(refuse(found), found.status)


def _judge(request: Request) -> HandshakeError | None:
    try:
        upgrade = parse_upgrade(request)
    except HandshakeError as exc:
        return exc
    assert (
        not set(request.headers) & {"transfer-encoding"} and request.headers.get("content-length", "0").strip("0") == ""
    )
    parameters = negotiate(upgrade.extensions, context_takeover=True)
    headers = dict(_check_answer(accept(upgrade, parameters.header() if parameters else None), 101))
    assert headers[b"sec-websocket-accept"].decode() == accept_token(upgrade.key)
    assert (b"sec-websocket-extensions" in headers) == (parameters is not None)
    assert headers.get(b"sec-websocket-protocol", b"").decode() == (upgrade.subprotocol or "")
    assert accept_and_close(upgrade, 4501, "no").startswith(accept(upgrade))
    return None
