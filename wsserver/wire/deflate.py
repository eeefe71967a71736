"""permessage-deflate, bounded (RFC 7692).

What a peer compressed is inflated piece by piece and never beyond the message limit; what we compress is
decided by its size. Knows nothing of frames but that a compressed message ends before its last four bytes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ProtocolError
from .close import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Shorter messages are sent as they are: compressing them costs more than it saves.
MIN_COMPRESSED_SIZE = 1024

#: Inflated data is made in pieces of this size, so that a bomb is seen after the first one too many.
_PIECE = 2**14

#: Every compressed message ends with an empty stored block, of which these bytes stay unsent (7.2.1).
_TAIL = b"\x00\x00\xff\xff"


@dataclass(frozen=True, slots=True)
class DeflateParameters:
    """What was agreed for one connection (RFC 7692, section 7.1). Windows are given by their bits, 9 to 15."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15

    def header(self) -> str:
        """The value of `Sec-WebSocket-Extensions` that accepts the offer."""
        parts = ["permessage-deflate"]
        if self.server_no_context_takeover:
            parts.append("server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append("client_no_context_takeover")
        if self.server_max_window_bits != 15:
            parts.append(f"server_max_window_bits={self.server_max_window_bits}")
        if self.client_max_window_bits != 15:
            parts.append(f"client_max_window_bits={self.client_max_window_bits}")
        return "; ".join(parts)


def negotiate(offers: Iterable[str], context_takeover: bool) -> DeflateParameters | None:
    """The first offer of permessage-deflate that can be met, or None.

    `offers` are the elements of `Sec-WebSocket-Extensions`. An offer with an unknown, repeated or wrong parameter is
    declined (RFC 7692, section 7.1), not an error. Without `context_takeover` both sides forget between messages.
    """
    for offer in offers:
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() == "permessage-deflate":
            agreed = _accept(parameters, context_takeover)
            if agreed is not None:
                return agreed
    return None


def _accept(parameters: Iterable[str], context_takeover: bool) -> DeflateParameters | None:
    offered: dict[str, str | None] = {}
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        if name in offered:
            return None
        offered[name] = value.strip('"') if equals else None
    server_bits = _window_bits(offered.pop("server_max_window_bits", "15"))
    # Without a value the client only says that it could limit its window; we need not ask it to.
    client_bits = _window_bits(offered.pop("client_max_window_bits", "15") or "15")
    server_forgets = "server_no_context_takeover" in offered
    client_forgets = "client_no_context_takeover" in offered
    flags = (offered.pop("server_no_context_takeover", None), offered.pop("client_no_context_takeover", None))
    if offered or flags != (None, None) or server_bits is None or client_bits is None:
        return None
    return DeflateParameters(
        server_no_context_takeover=server_forgets or not context_takeover,
        client_no_context_takeover=client_forgets or not context_takeover,
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
    )


def _window_bits(value: str | None) -> int | None:
    # 8 is a legal value, but zlib cannot make a raw stream with so small a window.
    return int(value) if value in {"9", "10", "11", "12", "13", "14", "15"} else None


class Deflate:
    """Both directions of one connection. `limit` is the largest inflated message in bytes."""

    __slots__ = ("_compressor", "_decompressor", "_inflated", "_limit", "_parameters")

    def __init__(self, parameters: DeflateParameters, limit: int) -> None:
        self._parameters = parameters
        self._limit = limit
        self._inflated = 0
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None

    def compress(self, payload: bytes) -> bytes:
        """The payload of a compressed message."""
        compressor = self._compressor or zlib.compressobj(wbits=-self._parameters.server_max_window_bits)
        self._compressor = None if self._parameters.server_no_context_takeover else compressor
        data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[: -len(_TAIL)]

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """The next pieces of a message; raises `ProtocolError` as soon as the message is over the limit."""
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(wbits=-self._parameters.client_max_window_bits)
        while True:
            try:
                piece = self._decompressor.decompress(data, _PIECE)
            except zlib.error as exc:
                raise ProtocolError(CloseCode.INVALID_PAYLOAD, "compressed data is damaged") from exc
            self._inflated += len(piece)
            if self._inflated > self._limit:
                raise ProtocolError(CloseCode.MESSAGE_TOO_BIG, "inflated message over the limit")
            yield piece
            data = self._decompressor.unconsumed_tail
            # Behind a full piece zlib may hold more output even where it has taken all input.
            if not data and len(piece) < _PIECE:
                return

    def finish(self) -> Iterator[bytes]:
        """The last pieces of a message, after its last byte has been given to `inflate`."""
        yield from self.inflate(_TAIL)
        self._inflated = 0
        decompressor = self._decompressor
        # A final block (BFINAL) ends the stream, but not the connection's messages (7.2.3.3).
        if self._parameters.client_no_context_takeover or (decompressor is not None and decompressor.eof):
            self._decompressor = None
