"""What a client says to come back to its session."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from os import urandom
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from ..errors import HandshakeError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIX = "resume."

#: What is longer than this, in characters, is no token of ours, which have 47: it need not be kept to open nothing.
_LONGEST_TOKEN = 128


class Claim(NamedTuple):
    """`token` opens the session; `last_seq` is the last event that was seen, of epoch `epoch`."""

    token: str
    epoch: int
    last_seq: int

    def __repr__(self) -> str:
        return f"<Claim to {self.session_id} after {self.epoch}.{self.last_seq}>"

    @property
    def session_id(self) -> str:
        """The session that the token names."""
        return self.token.partition(".")[0]


def find(query: str, subprotocols: Iterable[str]) -> Claim | None:
    """The claim in a query string or among offered subprotocols. Raises `HandshakeError` 400 where it is malformed.

    `resume=<token>&last_seq=<n>&epoch=<e>`, or `resume.<token>.<e>.<n>`, which keeps it out of addresses and logs.
    """
    for offered in subprotocols:
        if offered.startswith(_PREFIX):
            rest, _, last_seq = offered.removeprefix(_PREFIX).rpartition(".")
            token, _, epoch = rest.rpartition(".")
            return _claim(token, epoch, last_seq)
    if "resume=" not in query:
        return None
    fields = parse_qs(query, keep_blank_values=True)
    if not any(fields.get("resume", ())):
        return None
    return _claim(fields["resume"][-1], fields.get("epoch", ["1"])[-1], fields.get("last_seq", ["0"])[-1])


def _claim(token: str, epoch: str, last_seq: str) -> Claim:
    if not (token and _is_count(epoch) and _is_count(last_seq)):
        raise HandshakeError(
            400, "a resume names its token, an epoch and the last seq, both whole numbers", reason="malformed"
        )
    return Claim(token[:_LONGEST_TOKEN], int(epoch), int(last_seq))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def random_name() -> str:
    """What sessions and their tokens are named by: 128 random bits in URL-safe characters."""
    return urlsafe_b64encode(urandom(16)).rstrip(b"=").decode()
