"""Compressed messages: `Deflate.inflate` of `wire/deflate.py`, beside zlib itself."""

from __future__ import annotations

import zlib

from tests.fuzz.source import Source, seed
from tests.wire.masked import cut, ended, squeezed
from wsserver.errors import ProtocolError
from wsserver.wire.close import CloseCode
from wsserver.wire.deflate import Deflate, DeflateParameters

LIMITS = (300, 1, 4096, 4097, 2**16)

SEEDS = [
    seed(0, 0, squeezed(b"hello" * 20)),
    seed(0, 2, b"\0\3", b"\0\5", squeezed(b"hello")),
    seed(2, 0, squeezed(b"a" * 4096)),
    seed(3, 1, b"\0\1", squeezed(b"a" * 4097)),
    seed(4, 0, squeezed(b"a" * 70_000)),
    seed(0, 0, ended(b"hello"), ended(b"more"), b"\0"),
    seed(0, 0, b"\0\5\0\xfa\xffhello", b"\0"),
    seed(1, 0, squeezed(b"")),
    seed(4, 1, b"\0\x20", squeezed(bytes(range(256)) * 3)),
]

_MORE = b"and another"


def _inflated(deflate: Deflate, chunks: list[bytes]) -> bytes | int:
    """The message in these pieces, or the code that refuses it."""
    found = bytearray()
    try:
        for chunk in chunks:
            for piece in deflate.inflate(chunk):
                assert len(piece) <= 4096
                found += piece
        for piece in deflate.finish():
            found += piece
    except ProtocolError as exc:
        return exc.code
    return bytes(found)


def _by_zlib(data: bytes, limit: int) -> bytes | int:
    """The same in one go; a stream may be followed by others."""
    found = bytearray()
    data += b"\0\0\xff\xff"
    try:
        while data:
            inflater = zlib.decompressobj(-15)
            found += inflater.decompress(data, limit + 1 - len(found))
            if len(found) > limit:
                return CloseCode.MESSAGE_TOO_BIG
            if not inflater.eof:
                return bytes(found)
            data = inflater.unused_data
            if data == b"\0\0\xff\xff":
                return bytes(found)
    except zlib.error:
        return CloseCode.INVALID_PAYLOAD
    return bytes(found)


def one(data: bytes) -> None:
    """What a peer compressed, cut anywhere, is inflated to what zlib makes of it, never beyond the limit, or refused;
    and the message behind a good one is read as well.
    """
    source = Source(data)
    limit = source.choose(LIMITS)
    places = source.places()
    stream = source.rest()
    whole, pieces = (Deflate(DeflateParameters(client_no_context_takeover=True), limit) for _ in range(2))
    found = _inflated(whole, [stream])
    for other in (_inflated(pieces, list(cut(stream, places))), _by_zlib(stream, limit)):
        # Of damage just behind what is too much either may be seen first: zlib reads ahead as far as it can.
        assert other == found or {other, found} == {CloseCode.MESSAGE_TOO_BIG, CloseCode.INVALID_PAYLOAD}
    if isinstance(found, bytes):
        assert len(found) <= limit
        if limit >= len(_MORE):
            assert _inflated(whole, [squeezed(_MORE)]) == _MORE
