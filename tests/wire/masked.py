"""The client's side, by hand: masked frames, fragments, compressed messages, right and wrong ones alike.

Knows the RFCs and zlib, nothing of wsserver's own encoders: what both got wrong alike would pass.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import settings

from wsserver.wire.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wsserver.wire.protocol import Protocol, State

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10
MASK = b"\x37\xfa\x21\x3d"  # of the examples in RFC 6455, section 5.7

KiB = 1024

#: Every property is tried on so many examples, and however long one of them takes.
examples = settings(max_examples=150, deadline=None)


def header(opcode: int, length: int, *, fin: bool = True, rsv: int = 0, masked: bool = True, width: int = -1) -> bytes:
    """The header without the mask; `width` is that of the extended length, by default the right one."""
    if width < 0:
        width = 0 if length < 126 else 2 if length < 2**16 else 8
    first, second = fin << 7 | rsv | opcode, masked << 7 | {0: length, 2: 126, 8: 127}[width]
    return bytes((first, second)) + (length.to_bytes(width, "big") if width else b"")


def xor(payload: bytes, mask: bytes) -> bytes:
    """Byte by byte, as section 5.3 defines it."""
    return bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = MASK) -> bytes:
    """A frame as a client sends it."""
    return header(opcode, len(payload), fin=fin, rsv=rsv) + mask + xor(payload, mask)


def unmasked(opcode: int, payload: bytes = b"") -> bytes:
    """A frame as only a server may send it."""
    return header(opcode, len(payload), masked=False) + payload


def fragmented(opcode: int, *payloads: bytes, rsv: int = 0) -> list[bytes]:
    """One message in as many frames as there are payloads."""
    last = len(payloads) - 1
    return [
        masked(CONTINUATION if number else opcode, payload, fin=number == last, rsv=0 if number else rsv)
        for number, payload in enumerate(payloads)
    ]


def close(code: int, reason: bytes = b"") -> bytes:
    return masked(CLOSE, code.to_bytes(2, "big") + reason)


def answered(code: int, reason: str = "") -> bytes:
    """The server's Close."""
    return unmasked(CLOSE, code.to_bytes(2, "big") + reason.encode())


class Squeeze:
    """The client's compressor (RFC 7692, section 7.2.1)."""

    def __init__(self, bits: int = 15, *, takeover: bool = True) -> None:
        self._bits, self._takeover = bits, takeover
        self._compressor = zlib.compressobj(wbits=-bits)

    def __call__(self, content: bytes) -> bytes:
        payload = self._compressor.compress(content) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        if not self._takeover:
            self._compressor = zlib.compressobj(wbits=-self._bits)
        return payload.removesuffix(b"\x00\x00\xff\xff")


def squeezed(content: bytes) -> bytes:
    """A message of its own, compressed."""
    return Squeeze()(content)


def ended(content: bytes) -> bytes:
    """The same in a final block (BFINAL), without the empty block that must follow it."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(content) + compressor.flush(zlib.Z_FINISH)


class Outcome(NamedTuple):
    """All that can be seen of a connection from outside."""

    messages: list[Frame]
    sent: bytes
    state: State
    code: int
    reason: str


def flush(protocol: Protocol) -> bytes:
    """All that the server has to say."""
    said = bytearray()
    while chunk := protocol.data_to_send():
        said += chunk
    return bytes(said)


def hear(protocol: Protocol, *chunks: bytes) -> Outcome:
    """What a connection makes of these reads of its socket: a single message is tried first."""
    messages: list[Frame] = []
    for chunk in chunks:
        text = protocol.receive_text(chunk)
        messages += [Frame(TEXT, text)] if text is not None else protocol.receive_data(chunk)
    return Outcome(messages, flush(protocol), protocol.state, protocol.close_code, protocol.close_reason)


def octets(stream: bytes) -> list[bytes]:
    """Byte by byte."""
    return [stream[place : place + 1] for place in range(len(stream))]


def cut(stream: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """The stream in pieces, cut at these places as far as it has them."""
    start = 0
    for place in sorted({*places, len(stream)}):
        if start < place <= len(stream):
            yield stream[start:place]
            start = place


def ways(stream: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and in two at every place (of the first 64)."""
    return [[stream], octets(stream), *(list(cut(stream, [place])) for place in range(1, min(len(stream), 64)))]
