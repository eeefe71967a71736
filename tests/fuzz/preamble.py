"""The preamble of the PROXY protocol: `guard/preamble.py`, read as `net/arrivals.py` reads it."""

from __future__ import annotations

import re

from tests.fuzz.source import Source, seed
from wsserver.guard import preamble
from wsserver.guard.address import limit_key, plain

_V2 = b"\r\n\r\n\0\r\nQUIT\n"

#: No more is ever read.
MOST = 4096

#: What version 1 looks like, by its specification.
_V1_FORM = re.compile(rb"PROXY (?:UNKNOWN(?: .*)?|TCP[46] \S+ \S+ \d+ \d+)\r\n", re.ASCII | re.DOTALL)

SEEDS = [
    seed(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n"),
    seed(b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 65535\r\n\r\n"),
    seed(b"PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n"),
    seed(b"PROXY UNKNOWN\r\n"),
    seed(b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"),
    seed(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65536\r\n"),
    seed(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r" * 4),
    seed(b"PROXY " + b"x" * 120),
    seed(_V2, 0x21, 0x11, b"\0\x0c", b"\xc0\0\2\1", b"\xc6\x33\x64\1", b"\xdc\4\1\xbb", b"GET /"),
    seed(_V2, 0x21, 0x21, b"\0\x24", b"\x20\1\r\xb8" + bytes(11) + b"\1" + bytes(16), b"\xdc\4\1\xbb"),
    seed(_V2, 0x21, 0x21, b"\0\x24", bytes(10) + b"\xff\xff\xc0\0\2\1" + bytes(16), b"\xdc\4\1\xbb"),
    seed(_V2, 0x20, 0x00, b"\0\0", b"\x16\x03\x01"),
    seed(_V2, 0x21, 0x31, b"\0\xd8", bytes(216)),
    seed(_V2, 0x21, 0x12, b"\0\x0f", bytes(12), b"\4\0\0"),
    seed(_V2, 0x21, 0x11, b"\0\4", bytes(4)),
    seed(_V2, 0x21, 0x41, b"\0\0"),
    seed(_V2, 0x31, 0x11, b"\xff\xff"),
    seed(b"GET / HTTP/1.1\r\n\r\n"),
    seed(b""),
]


def _read(stream: bytes, step: int) -> tuple[bytes, str | None] | None:
    """What is read of the stream, `step` bytes at most at a time, and the address in it; None where it is no preamble.

    Of what is none, and of what is not whole yet, more or less may be read before that is known.
    """
    data = b""
    try:
        while size := preamble.missing(data):
            assert len(data) + size <= MOST
            piece = stream[len(data) : len(data) + min(size, step)]
            if not piece:
                return None
            data += piece
        return data, preamble.source(data)
    except preamble.PreambleError:
        return None


def one(data: bytes) -> None:
    """Of any stream not a byte behind the preamble is read, however the bytes come; it is bounded, names a client by an
    address that can be counted, or nobody, and raises nothing but `PreambleError`.
    """
    stream = Source(data).rest()
    first, *others = (_read(stream, step) for step in (MOST, 1, 7))
    for other in others:
        assert other == first
    if first is None:
        return
    found, address = first
    assert stream.startswith(found)
    if found.startswith(_V2):
        assert len(found) == 16 + int.from_bytes(found[14:16], "big")
    else:
        assert _V1_FORM.fullmatch(found) and found.index(b"\r\n") == len(found) - 2 <= 105
    assert address is None or (plain(address) == address and limit_key(address))
