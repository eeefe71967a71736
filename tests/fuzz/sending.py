"""Both ways at once: what a client sends while the server sends, closes and fails in the midst of it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tests.fuzz.protocol import DEFLATES
from tests.fuzz.source import Source, seed
from tests.wire.masked import BINARY, CLOSE, PING, RSV1, TEXT, close, masked, squeezed
from wsserver.wire.protocol import CHUNK_SIZE, Protocol, State

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 300

#: What the server does in turn; a step is its number here, and what it takes.
_STEPS = ("receive", "text", "binary", "texts", "ping", "close", "fail", "eof", "write")

_ZERO = b"\0\0\0\0"


def _step(name: str, *parts: int | bytes) -> bytes:
    return seed(_STEPS.index(name), *parts)


def _received(frame: bytes) -> bytes:
    return _step("receive", len(frame).to_bytes(2, "big"), frame)


SEEDS = [
    seed(0, _step("text", 0, 2, 3, b"abc"), _received(masked(TEXT, b"hello", mask=_ZERO)), _step("write")),
    seed(0, _step("texts", 3, 0, 1, 5, b"\xc3\xa9\xe9\x80\x80"), _received(masked(PING, b"x", mask=_ZERO))),
    seed(1, _step("text", 9, 0xFF, 40, b"lorem ipsum, " * 3), _step("text", 9, 0xFF, 4, b"\0\xff\xff\xff")),
    seed(2, _step("text", 9, 0xFF, 5, b"hello"), _received(masked(TEXT, squeezed(b"hello" * 20), rsv=RSV1))),
    seed(3, _step("binary", 9, 0xFF, 5, b"hello"), _step("binary", 0, 0, 9), _step("ping", 125, b"p" * 125)),
    seed(0, _step("close", b"\3\xe8", 3, b"bye"), _received(masked(TEXT, b"late")), _received(close(1000))),
    seed(0, _step("close", b"\3\xe8", 130, b"a" + "é".encode("latin-1") * 129)),
    seed(0, _step("close", b"\3\xe8", 130, b"a" * 130)),
    seed(0, _step("close", b"\3\xed", 0), _step("text", 0, 1, 1, b"x")),
    seed(1, _received(close(4000, b"bye")), _step("texts", 1, 0, 0, 3, b"abc"), _step("close", b"\3\xe8", 0)),
    seed(0, _received(masked(TEXT, b"half", fin=False)), _step("fail", b"\3\xf3", 2, b"no"), _received(masked(PING))),
    seed(0, _step("eof"), _step("text", 0, 0, 1, b"x"), _step("write")),
    seed(0, *(_step("binary", 0xFF, 0xFF, 2, b"ab") for _ in range(3)), _step("write"), _step("write")),
]


def _content(source: Source, *, text: bool) -> bytes:
    """A payload of at most 64 KiB: a short piece, again and again."""
    times = source.number(0xFFFF)
    piece = source.take(source.number(64))
    if text:
        piece = piece.decode(errors="replace").encode()
    return (piece * times)[: 0xFFFF // (len(piece) or 1) * (len(piece) or 1)]


def _one_text(source: Source) -> bytes:
    return _content(source, text=True)


def _run(source: Source, protocol: Protocol) -> tuple[list[object], bytes, list[tuple[int, bytes]]]:
    """What was seen of the connection after each step, all that it sent, and what it was to send while it was open."""
    seen: list[object] = []
    sent, wanted = bytearray(), []

    def send(opcode: int, payload: bytes) -> None:
        if protocol.state is State.OPEN:
            wanted.append((opcode, payload))

    def text() -> None:
        payload = _one_text(source)
        send(TEXT, payload)
        protocol.send(TEXT, payload)

    def binary() -> None:
        payload = _content(source, text=False)
        send(BINARY, payload)
        protocol.send(BINARY, payload)

    def texts() -> None:
        payloads = [_one_text(source) for _ in range(source.number(4))]
        for payload in payloads:
            send(TEXT, payload)
        protocol.send_texts(payloads)

    def write() -> None:
        data = protocol.data_to_send()
        assert len(data) <= CHUNK_SIZE
        sent.extend(data)

    def told(how: Callable[[int, str], None]) -> None:
        code = source.number(0xFFFF)
        how(code, source.take(source.number(200)).decode("latin-1"))

    steps: dict[str, Callable[[], object]] = {
        "receive": lambda: seen.extend(protocol.receive_data(source.take(source.number(0xFFFF)))),
        "text": text,
        "binary": binary,
        "texts": texts,
        "ping": lambda: protocol.send(PING, source.take(source.number(125))),
        "close": lambda: told(protocol.send_close),
        "fail": lambda: told(protocol.fail),
        "eof": protocol.receive_eof,
        "write": write,
    }
    while source:
        steps[source.choose(_STEPS)]()
        seen.append((protocol.state, protocol.close_code, protocol.close_reason, protocol.queued))
    while protocol.queued:
        write()
    assert protocol.data_to_send() == b""
    return seen, bytes(sent), wanted


def _frames(sent: bytes) -> list[tuple[int, bytes]]:
    """First byte and payload of each frame."""
    frames = []
    while sent:
        size, start = sent[1], 2
        assert size <= 127, "a server masks nothing"
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(sent[2:start], "big")
            assert size > (125 if start == 4 else 0xFFFF)
        assert len(sent) >= start + size
        frames.append((sent[0], sent[start : start + size]))
        sent = sent[start + size :]
    return frames


def one(data: bytes) -> None:
    """Whatever comes in and goes out in whatever order, both framings send the same bytes, in them all that was to be
    sent while the connection was open, in order, and nothing behind a Close.
    """
    source = Source(data)
    deflate = source.choose(DEFLATES)
    rest = source.rest()
    (seen, sent, wanted), other = (
        _run(Source(rest), Protocol(LIMIT, deflate=deflate, lanes=lanes)) for lanes in (True, False)
    )
    assert (seen, sent, wanted) == other
    frames = _frames(sent)
    assert all(first & 0x0F != CLOSE for first, _ in frames[:-1])
    inflater = zlib.decompressobj(-15)
    messages = []
    for first, payload in frames:
        assert first & 0x80 and not first & 0x30
        if first & RSV1:
            assert deflate is not None and not first & 0x08
            payload = inflater.decompress(payload + b"\0\0\xff\xff")
            if deflate.server_no_context_takeover:
                inflater = zlib.decompressobj(-15)
        if not first & 0x08:
            messages.append((first & 0x0F, payload))
        else:
            assert len(payload) <= 125
    assert messages == wanted
