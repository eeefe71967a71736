"""The lane of opening handshakes: a whole GET request of the common kind (RFC 9112).

Like the lanes of frames it takes only what nothing can be said against: one piece, ASCII, each field once and in one
line, nothing that could announce a body. Everything else is left untouched for h11, which knows what is wrong with it,
and from which what is taken here differs in nothing but its cost.

What goes to h11 is looked at on its way: it would take lines that somebody before us may have read in another way, and
take its time for thousands of them.
"""

from __future__ import annotations

import re

#: Thousands of the shortest fields would take fifty times as long to read as all else.
MAX_FIELDS = 100

#: Atomic and possessive: what does not match fails in one walk through it.
_REQUEST = re.compile(
    rb"GET ([\x21-\x7e]++) HTTP/1\.1\r\n"
    rb"((?>[-!#$%&'*+.^_`|~0-9a-zA-Z]++: ?[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\r\n)"
    + b"{1,%d}+" % MAX_FIELDS
    + rb")\r\n"
)

#: A line that ends by LF alone, one that goes on in the next (RFC 9112, 2.2 and 5.2: both a server may refuse),
#: a CR by itself, and other control characters (RFC 9110, section 5.5).
_AMBIGUOUS = re.compile(rb"(?<!\r)\n|\n[ \t]|\r[^\n]|[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
_END = b"\r\n\r\n"

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


class Lines:
    """Watches the head of a request as it comes, up to its end."""

    __slots__ = ("_before", "count")

    def __init__(self) -> None:
        self.count = 0
        self._before = b""  # as much of what came before as may belong to what is looked for

    def receive_data(self, data: bytes) -> bool:
        """Whether nothing can be said against these lines, however many they are."""
        start = len(self._before)
        data = self._before + data
        end = data.find(_END)
        head = data if end < 0 else data[: end + len(_END)]
        self._before = data[1 - len(_END) :]
        self.count += head.count(b"\n", start)
        return _AMBIGUOUS.search(head, max(0, start - 1)) is None
