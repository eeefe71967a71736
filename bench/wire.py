"""Just enough of RFC 6455 for a load generator and a bare server. No sockets here.

Whole, small, unfragmented frames: a peer that sends anything else fails the run.
"""

from __future__ import annotations

import base64
import hashlib

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: Frames are made once and sent often, so the mask is a constant; what a server does with it costs the same.
_MASK = b"\x5a\xc3\x0f\x96"


class WireError(Exception):
    """The peer sent what this reader does not take."""


def accept_value(key: bytes) -> bytes:
    """The `Sec-WebSocket-Accept` that answers this key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def upgrade_request(host: str, port: int, path: str, key: bytes) -> bytes:
    """The opening handshake of a client (section 4.1)."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def upgrade_answer(request: bytes) -> bytes:
    """The 101 that answers a whole request (section 4.2.2)."""
    key = _header(request, b"sec-websocket-key")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_value(key) + b"\r\n\r\n"
    )


def check_answer(head: bytes, key: bytes) -> None:
    """Raise `WireError` unless `head` is the 101 that belongs to `key`."""
    if not head.startswith(b"HTTP/1.1 101"):
        raise WireError(f"the upgrade was refused: {head[:200]!r}")
    if _header(head, b"sec-websocket-accept") != accept_value(key):
        raise WireError("Sec-WebSocket-Accept does not belong to the key")


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        field, _, value = line.partition(b":")
        if field.lower() == name:
            return value.strip()
    raise WireError(f"no {name.decode()} in {head[:200]!r}")


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked frame (section 5.2)."""
    return bytes([0x80 | opcode]) + _length(len(payload), 0) + payload


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One masked frame."""
    return bytes([0x80 | opcode]) + _length(len(payload), 0x80) + _MASK + masked(payload, _MASK)


def masked(payload: bytes, mask: bytes) -> bytes:
    """`payload` under `mask`: the same call masks and unmasks (section 5.3)."""
    size = len(payload)
    if not size:
        return b""
    stream = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(stream, "little")).to_bytes(size, "little")


def _length(size: int, masked_bit: int) -> bytes:
    if size < 126:
        return bytes([masked_bit | size])
    if size < 1 << 16:
        return bytes([masked_bit | 126]) + size.to_bytes(2, "big")
    return bytes([masked_bit | 127]) + size.to_bytes(8, "big")


def payload_bounds(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` starts and ends, mask excluded; None while bytes are missing."""
    have = len(data) - at
    if have < 2:
        return None
    second = data[at + 1]
    size, start = second & 0x7F, at + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if have < 2 + width:
            return None
        size, start = int.from_bytes(data[start : start + width], "big"), start + width
    if second & 0x80:
        start += 4
    return (start, start + size) if start + size <= len(data) else None
