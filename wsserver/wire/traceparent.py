"""The header `traceparent` of W3C Trace Context, level 1: version-traceid-parentid-flags, in lower-case hexadecimal."""

from __future__ import annotations

import re

_FIELDS = re.compile("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


def parse(header: str) -> str | None:
    """What the header says as a traceparent of version 00, None where it is invalid (section 3.2.2).

    Of a later version the fields that are known count, and of its flags the one that is (section 4.3).
    """
    found = _FIELDS.fullmatch(header)
    if found is None:
        return None
    version, trace, parent, flags, rest = found.groups()
    if version == "ff" or not trace.strip("0") or not parent.strip("0"):
        return None
    if version == "00":
        return header if rest is None else None
    return f"00-{trace}-{parent}-{int(flags, 16) & _SAMPLED:02x}"
