"""The lanes: server frames out, whole masked frames in (RFC 6455, section 5.2).

A lane is a road for the common case only. Out: any frame of ours, never masked. In: a complete, unfragmented frame
without reserved bits that nothing can be said against. Everything else, down to the last invalid byte, is left
untouched for the framing engine, which alone knows what is wrong with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .close import decode_close

if TYPE_CHECKING:
    from collections.abc import Sequence


# Opcodes (RFC 6455, section 11.8); plain integers, compared for every frame.
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA


class Frame(NamedTuple):
    """One whole message or control frame, unmasked."""

    opcode: int
    payload: bytes


_FIN = 0x80
_RSV1 = 0x40
_MASKED = 0x80
_SHORT = 125

#: Above this many bytes four table look-ups are quicker than the XOR of two integers.
_INTEGER_XOR_LIMIT = 1536
_XOR_TABLES = [bytes(a ^ b for a in range(256)) for b in range(256)]

_TEXT = _FIN | TEXT
_LONG = _MASKED | _SHORT
_MESSAGES = (_TEXT, _FIN | BINARY)
_OPCODES = {_FIN | opcode: opcode for opcode in (TEXT, BINARY, CLOSE, PING, PONG)}
_from_bytes = int.from_bytes


def encode_header(opcode: int, length: int, compressed: bool = False) -> bytes:
    """The header of a final, unmasked frame; `compressed` sets RSV1 (RFC 7692, section 6)."""
    first = _FIN | opcode | (_RSV1 if compressed else 0)
    if length <= _SHORT:
        return bytes((first, length))
    if length <= 0xFFFF:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


#: The headers of short frames, and of texts somewhat longer: most tokens are.
_HEADERS = {
    opcode: [encode_header(opcode, length) for length in range(_SHORT + 1)]
    for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
}
_TEXT_HEADERS = [encode_header(TEXT, length) for length in range(2**10)]


def encode(opcode: int, payload: bytes, compressed: bool = False) -> bytes:
    """A whole frame as the server sends it: final and unmasked."""
    length = len(payload)
    if length <= _SHORT and not compressed:
        return _HEADERS[opcode][length] + payload
    return encode_header(opcode, length, compressed) + payload


def encode_texts(payloads: Sequence[bytes]) -> bytes:
    """Text frames, one a payload; the payloads must be UTF-8."""
    headers, known = _TEXT_HEADERS, len(_TEXT_HEADERS)
    if len(payloads) == 1 and (length := len(payload := payloads[0])) < known:
        return headers[length] + payload
    return b"".join(
        [
            headers[length] + payload if (length := len(payload)) < known else encode(TEXT, payload)
            for payload in payloads
        ]
    )


def unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the 4-byte mask (RFC 6455, section 5.3)."""
    length = len(payload)
    if length <= _INTEGER_XOR_LIMIT:
        key = int.from_bytes((mask * (length // 4 + 1))[:length], "little")
        return (int.from_bytes(payload, "little") ^ key).to_bytes(length, "little")
    return bytes(unmask_long(payload, mask))


def unmask_long(payload: bytes, mask: bytes) -> bytearray:
    """The same, quick where `payload` is long; the result is the caller's own."""
    plain = bytearray(payload)
    for offset, key in enumerate(mask):
        plain[offset::4] = plain[offset::4].translate(_XOR_TABLES[key])
    return plain


def decode_text(data: bytes, limit: int) -> bytes | None:
    """The text message that `data` is, if it is one whole frame and nothing else, and the lane can take it."""
    size = len(data) - 6
    if size < 0 or data[0] != _TEXT:
        return None
    second = data[1]
    if second > _LONG:
        taken = decode(data, 0, limit)
        return taken[0].payload if taken is not None and taken[1] == len(data) else None
    if second != _MASKED + size or size > limit:
        return None
    # `unmask` written out for the most common of all messages.
    key = _from_bytes((data[2:6] * 32)[:size], "little")
    payload = (_from_bytes(data[6:], "little") ^ key).to_bytes(size, "little")
    return payload if payload.isascii() or _is_utf8(payload) else None


def decode_header(data: bytes, start: int) -> tuple[int, int, int] | None:
    """Opcode and length of the message in a frame at `start`, and where its payload begins.

    None where the header is not whole, or of no message that the lanes take.
    """
    if len(data) - start < 6 or data[start] not in _MESSAGES or data[start + 1] < _MASKED:
        return None
    length, body = data[start + 1] - _MASKED, start + 6
    if length > _SHORT:
        length, body = _extended(data, start)
    return (_OPCODES[data[start]], length, body) if 0 <= length and body <= len(data) else None


def _extended(data: bytes, start: int) -> tuple[int, int]:
    """The length in the extended header at `start`, below 0 where it may not be, and where the payload begins."""
    width = 2 if data[start + 1] == _LONG + 1 else 8
    length = int.from_bytes(data[start + 2 : start + 2 + width], "big")
    # "The minimal number of bytes MUST be used to encode the length" (5.2).
    return length if length > (_SHORT if width == 2 else 0xFFFF) else -1, start + 6 + width


def decode(data: bytes, start: int, limit: int) -> tuple[Frame, int] | None:
    """The frame at `start` and the position behind it, or None if the lane cannot take it.

    `limit` is the largest payload in bytes that may pass.
    """
    if len(data) - start < 6:
        return None
    opcode = _OPCODES.get(data[start])
    length = data[start + 1] - _MASKED
    if opcode is None or length < 0:
        return None
    body = start + 6
    if length > _SHORT:
        if opcode & 0x8:
            return None
        length, body = _extended(data, start)
        if length < 0:
            return None
    end = body + length
    if end > len(data) or (length > limit and not opcode & 0x8):
        return None
    payload = unmask(data[body:end], data[body - 4 : body]) if length else b""
    if opcode == TEXT:
        if not payload.isascii() and not _is_utf8(payload):
            return None
    elif opcode == CLOSE and decode_close(payload) is None:
        return None
    return Frame(opcode, payload), end


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
