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

#: zlib's quickest: a fifth of the time of its default on text, for an output a seventh longer.
_LEVEL = 1

#: Half of zlib's default: a compressor that is kept between messages takes what it takes for every connection.
_MEMORY_LEVEL = 5

#: Inflated data is made in pieces of this size: what is copied on the way stays small beside the message.
_PIECE = 2**12

#: zlib keeps to itself what it inflated before it met the damage. So nobody can tell whether that was UTF-8, and the
#: reason is the same for both, wherever the stream is cut.
INVALID_DATA = "data is damaged or not UTF-8"

#: Every compressed message ends with an empty stored block, of which these bytes stay unsent (7.2.1).
_TAIL = b"\x00\x00\xff\xff"

#: 8 is a legal value, but zlib cannot make a raw stream with so small a window.
_WINDOW_BITS: dict[str | None, int] = {text: bits for bits in range(9, 16) for text in (f"{bits}", f'"{bits}"')}


@dataclass(frozen=True, slots=True)
class DeflateParameters:
    """What was agreed for one connection (RFC 7692, section 7.1). Windows are given by their bits, 9 to 15.

    Ours is None where the client asked for none: one it asked for, even the largest, must be confirmed (7.1.2.1).
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int = 15

    def header(self) -> str:
        """The value of `Sec-WebSocket-Extensions` that accepts the offer."""
        parts = ["permessage-deflate"]
        if self.server_no_context_takeover:
            parts.append("server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append("client_no_context_takeover")
        if self.server_max_window_bits is not None:
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
        offered[name] = value if equals else None
    server_asked = "server_max_window_bits" in offered
    server_bits = _WINDOW_BITS.get(offered.pop("server_max_window_bits", "15"))
    # Without a value the client only says that it could limit its window; we need not ask it to.
    client_value = offered.pop("client_max_window_bits", None)
    client_bits = 15 if client_value is None else _WINDOW_BITS.get(client_value)
    server_forgets = "server_no_context_takeover" in offered
    client_forgets = "client_no_context_takeover" in offered
    flags = (offered.pop("server_no_context_takeover", None), offered.pop("client_no_context_takeover", None))
    if offered or flags != (None, None) or server_bits is None or client_bits is None:
        return None
    return DeflateParameters(
        server_no_context_takeover=server_forgets or not context_takeover,
        client_no_context_takeover=client_forgets or not context_takeover,
        server_max_window_bits=server_bits if server_asked else None,
        client_max_window_bits=client_bits,
    )


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
        bits = self._parameters.server_max_window_bits or zlib.MAX_WBITS
        compressor = self._compressor or zlib.compressobj(_LEVEL, wbits=-bits, memLevel=_MEMORY_LEVEL)
        self._compressor = None if self._parameters.server_no_context_takeover else compressor
        data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[: -len(_TAIL)]

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """The next pieces of a message; raises `ProtocolError` as soon as the message is over the limit."""
        while True:
            # With a smaller window zlib would see a reference behind it in some pieces and not in others.
            decompressor = self._decompressor or zlib.decompressobj(wbits=-zlib.MAX_WBITS)
            room = self._limit - self._inflated
            try:
                piece = decompressor.decompress(data, min(_PIECE, room + 1))
            except zlib.error as exc:
                raise ProtocolError(CloseCode.INVALID_PAYLOAD, INVALID_DATA) from exc
            if len(piece) > room:
                yield piece[:room]
                raise ProtocolError(CloseCode.MESSAGE_TOO_BIG, "inflated message over the limit")
            self._inflated += len(piece)
            yield piece
            # A final block (BFINAL) ends zlib's stream, but neither the message nor the connection (7.2.1).
            self._decompressor = None if decompressor.eof else decompressor
            data = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
            # Behind a full piece zlib may hold more output even where it has taken all input.
            if not data and len(piece) < _PIECE:
                return

    def finish(self) -> Iterator[bytes]:
        """The last pieces of a message, after its last byte has been given to `inflate`."""
        # Behind a final block there may be nothing that the tail could end.
        if self._decompressor is not None:
            yield from self.inflate(_TAIL)
        self._inflated = 0
        if self._parameters.client_no_context_takeover:
            self._decompressor = None
