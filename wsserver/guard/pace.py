"""How fast clients may be: each session, and all sessions of one user or address together.

Nothing is kept of who is slow. What is kept outlives the connection, so that coming back, or opening another session,
gains nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .limits import Rates

if TYPE_CHECKING:
    from ..config import Config
    from .seats import Owner

#: Of bytes one owner may send as many as so many sessions. What is more is only read later.
_SESSIONS_PER_OWNER = 4

#: What a session may get wrong: so many each second, and so many at once.
_ERROR_RATE, _ERRORS_AT_ONCE = 1.0, 30.0


class Pace:
    """The rates of a server, by the limits of `config`.

    Of messages an owner may send as many as all connections that it may have together. Where they are not limited, it
    stands for any number of people: then it has no rates of its own.
    """

    def __init__(self, config: Config) -> None:
        limits = {"address": config.max_connections_per_ip, "user": config.max_connections_per_user}
        self._messages = {kind: Rates(limit * config.message_rate) for kind, limit in limits.items()}
        self._owner_bytes = {
            kind: Rates(min(limit, _SESSIONS_PER_OWNER) * config.byte_rate) for kind, limit in limits.items()
        }
        self._bytes = Rates(config.byte_rate)
        self._errors = Rates(_ERROR_RATE, _ERRORS_AT_ONCE / _ERROR_RATE)

    def message(self, owner: Owner | None, now: float) -> float:
        """A message of this owner: the seconds by which it is too fast. Then it uses nothing, and is to be refused."""
        return self._messages[owner.kind].take(owner, now) if owner is not None else 0.0

    def received(self, session: str, owner: Owner | None, size: int, now: float) -> float:
        """So many bytes have come: the seconds for which no more of them should be read."""
        wait = self._bytes.spend(session, size, now)
        return max(wait, self._owner_bytes[owner.kind].spend(owner, size, now)) if owner is not None else wait

    def mistake(self, session: str, now: float) -> bool:
        """Something that could not be served: whether it was one too many."""
        return self._errors.spend(session, 1, now) > 0
