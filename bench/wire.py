"""Just enough of RFC 6455 for a load generator and a bare server. No sockets here.

Whole, small, unfragmented frames: a peer that sends anything else fails the run.
"""

from __future__ import annotations

import base64
import hashlib

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: Frames are made once and sent often, so the mask is a constant; what a server does with it costs the same.
_MASK = b"\x5a\xc3\x0f\x96"


class WireError(Exception):
    """The peer sent what this reader does not take."""


def accept_value(key: bytes) -> bytes:
    """The `Sec-WebSocket-Accept` that answers this key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def upgrade_request(host: str, port: int, path: str, key: bytes, more: str = "") -> bytes:
    """The opening handshake of a client (section 4.1); `more` are whole header lines."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{more}"
        f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def browser_headers(host: str, port: int) -> str:
    """What a browser says besides, when a page of the same host connects."""
    return (
        f"Origin: http://{host}:{port}\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
        "Safari/537.36\r\n"
        "Pragma: no-cache\r\nCache-Control: no-cache\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
        "Cookie: theme=dark; visitor=5f0c1d2e3b4a59687786950a1b2c3d4e\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    )


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


def server_header(size: int, opcode: int) -> bytes:
    """The header of an unmasked frame (section 5.2)."""
    return bytes([0x80 | opcode]) + _length(size, 0)


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked frame."""
    return server_header(len(payload), opcode) + payload


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
    bounds = _bounds(data, at)
    return bounds if bounds is not None and bounds[1] <= len(data) else None


def missing(data: bytes) -> int:
    """How many bytes the frame that begins here still lacks; 0 where that cannot be said yet."""
    bounds = _bounds(data, 0)
    return max(0, bounds[1] - len(data)) if bounds is not None else 0


def _bounds(data: bytes, at: int) -> tuple[int, int] | None:
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
    return start, start + size
