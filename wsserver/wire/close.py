"""Close codes: what they mean and which may travel (RFC 6455, section 7.4).

1000–2999 belong to the RFC and its registry, 3000–3999 to libraries, 4000–4999 to applications. Of ours, 4000–4499
invite the client back, 4500–4999 do not.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """The codes that this server sends or understands."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    SLOW_READER = 4000
    NO_PONG = 4001
    TOO_OLD = 4004
    EXPIRED = 4005
    TOO_FAST = 4008
    UNAUTHORIZED = 4501
    TAKEN_OVER = 4502
    FORBIDDEN = 4503
    TOO_MANY = 4504
    ENDED_BY_APPLICATION = 4506


#: Of the codes below 3000, those a peer may send. 1005, 1006 and 1015 only ever describe, they never travel.
_REGISTERED = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013))


def may_travel(code: int) -> bool:
    """Whether a Close frame may carry `code` (RFC 6455, section 7.4.2)."""
    return 3000 <= code <= 4999 or code in _REGISTERED


def encode_close(code: int, reason: str = "") -> bytes:
    """The payload of a Close frame: the code and at most 123 bytes of UTF-8, cut between characters.

    What UTF-8 cannot hold becomes a question mark. Empty for a code that may not travel: all that is left to say is
    that there is no status.
    """
    if not may_travel(code):
        return b""
    text = reason.encode(errors="replace")[:123].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + text


def decode_close(payload: bytes) -> tuple[int, str] | None:
    """Code and reason of a Close frame's payload, or None if no peer may send it."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not may_travel(code):
        return None
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        return None
