"""The lane of opening handshakes: a whole GET request of the common kind (RFC 9112).

Like the lanes of frames it takes only what nothing can be said against: one piece, ASCII, each field once and in one
line, nothing that could announce a body. Everything else is left untouched for h11, which knows what is wrong with it,
and from which what is taken here differs in nothing but its cost.
"""

from __future__ import annotations

import re

#: Atomic and possessive: what does not match fails in one walk through it.
_REQUEST = re.compile(
    rb"GET ([\x21-\x7e]++) HTTP/1\.1\r\n"
    rb"((?>[-!#$%&'*+.^_`|~0-9a-zA-Z]++: ?[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\r\n)++)"
    rb"\r\n"
)

#: What h11 has more to say of.
_LEFT_TO_H11 = frozenset(("content-length", "transfer-encoding", "expect"))


def decode(data: bytes, limit: int) -> tuple[str, dict[str, str], int] | None:
    """Target, fields by lower-case name, and the position behind the request at the start of `data`.

    None where the lane cannot take it. `limit` is the largest request in bytes that may pass.
    """
    found = _REQUEST.match(data)
    if found is None or found.end() > limit:
        return None
    lines = found[2].decode("ascii").split("\r\n")[:-1]
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value[1:] if value[0] == " " else value
    if len(headers) < len(lines) or "host" not in headers or not _LEFT_TO_H11.isdisjoint(headers):
        return None
    return found[1].decode("ascii"), headers, found.end()
