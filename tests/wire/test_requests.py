"""The lane of opening handshakes: what it takes, h11 takes as well and reads the same; what it leaves, h11 judges."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.masked import examples
from wsserver.errors import HandshakeError
from wsserver.wire.handshake import Request, RequestReader
from wsserver.wire.requests import decode

LIMIT = 2**14

WHOLE = (
    b"GET /ws/chat?x=%20 HTTP/1.1\r\nHost: localhost:8765\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def judged(*chunks: bytes) -> tuple[Request | int | None, bytes]:
    """The request, or the status that refuses it, and what came behind."""
    reader = RequestReader()
    found: Request | int | None = None
    for chunk in chunks:
        try:
            found = reader.receive_data(chunk)
        except HandshakeError as exc:
            return exc.status, b""
    return found, reader.trailing_data


def by_h11(data: bytes) -> tuple[Request | int | None, bytes]:
    """The same with the first byte by itself, which the lane cannot take."""
    return judged(data[:1], data[1:])


def test_the_common_kind() -> None:
    assert decode(WHOLE + b"\x81\x80abcd", LIMIT) == (
        "/ws/chat?x=%20",
        {
            "host": "localhost:8765",
            "upgrade": "websocket",
            "connection": "keep-alive, Upgrade",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
        len(WHOLE),
    )
    request, behind = judged(WHOLE + b"behind")
    assert (request, behind) == by_h11(WHOLE + b"behind")
    assert isinstance(request, Request)
    assert (request.path, request.query, behind) == ("/ws/chat", "x=%20", b"behind")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WHOLE[:-1],
        WHOLE[1:],
        b"\r\n" + WHOLE,
        WHOLE.replace(b"GET", b"get"),
        WHOLE.replace(b"GET", b"POST"),
        WHOLE.replace(b"1.1", b"1.0"),
        WHOLE.replace(b"/ws/chat", b"/ws chat"),
        WHOLE.replace(b"/ws/chat", b"/\xff"),
        WHOLE.replace(b"\r\n", b"\n"),
        WHOLE.replace(b"Host: localhost:8765\r\n", b""),
        WHOLE.replace(b"Upgrade: ", b"Host: other\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"X: 1\r\nx: 2\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"X: 1\r\n folded\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"X:\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"X : 1\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"X: 1 \r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"X: \xc3\xa9\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"X: a\tb\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"X: a\rb\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"Content-Length: 0\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"Transfer-Encoding: chunked\r\nUpgrade: "),
        WHOLE.replace(b"Upgrade: ", b"Expect: 100-continue\r\nUpgrade: "),
    ],
)
def test_what_is_left_untouched(data: bytes) -> None:
    assert decode(data, LIMIT) is None
    assert judged(data) == by_h11(data)


def test_the_limit_is_the_largest_request_that_passes() -> None:
    assert decode(WHOLE + bytes(100), len(WHOLE)) is not None
    assert decode(WHOLE, len(WHOLE) - 1) is None


#: Changes to a request that may or may not be allowed.
_changes = st.lists(
    st.tuples(
        st.integers(0, len(WHOLE)),
        st.sampled_from([b"", b" ", b"\t", b"\r\n", b"\n", b":", b"\0", b"\xff", b"X: y\r\n", b"a"]),
    ),
    max_size=3,
)


@given(_changes, st.integers(0, 3))
@examples
def test_whatever_is_changed_it_is_read_as_h11_reads_it(changes: list[tuple[int, bytes]], cut: int) -> None:
    data = WHOLE
    for place, inserted in changes:
        data = data[:place] + inserted + data[place + (cut if not inserted else 0) :]
    assert judged(data) == by_h11(data)


@pytest.mark.parametrize("filling", [b" ", b"a", b"a ", b"a: b\r\n", b":", b"\r\n"])
def test_what_does_not_match_fails_in_one_walk(filling: bytes) -> None:
    data = b"GET / HTTP/1.1\r\nX: y" + filling * (200_000 // len(filling))
    began = time.process_time()
    decode(data, LIMIT)
    assert time.process_time() - began < 0.5
