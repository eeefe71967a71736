"""How fast clients may be: each session, and all sessions of one user or address together.

Nothing is kept of who is slow. What is kept outlives the connection, so that coming back, or opening another session,
gains nothing.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from .limits import SLACK, Rate, Rates

if TYPE_CHECKING:
    from ..config import Config
    from .seats import Owner

#: Of bytes one owner may send as many as so many sessions. What is more is only read later.
_SESSIONS_PER_OWNER = 4

#: What a session may get wrong: so many each second, and so many at once.
_ERROR_RATE, _ERRORS_AT_ONCE = 1.0, 30.0

#: Fewer accounts are not worth looking through.
_PURGE_ABOVE = 1024


class Paced(Protocol):
    """A session: what it has used of its two rates, each the time at which it will have used nothing (`Rate.used`)."""

    bytes_until: float
    messages_until: float

    @property
    def id(self) -> str: ...


class Account:
    """The same of one owner. Once `dropped`, the owner has another one, or none."""

    __slots__ = ("bytes", "bytes_until", "dropped", "messages", "messages_until")

    def __init__(self, messages: Rate, octets: Rate) -> None:
        self.messages = messages
        self.bytes = octets
        self.messages_until = 0.0
        self.bytes_until = 0.0
        self.dropped = False


class Pace:
    """The rates of a server, by the limits of `config`.

    Of messages an owner may send as many as all connections that it may have together. Where they are not limited, it
    stands for any number of people: then it has no rates of its own.
    """

    def __init__(self, config: Config) -> None:
        limits = {"address": config.max_connections_per_ip, "user": config.max_connections_per_user}
        self._of_owners = {
            kind: (Rate(limit * config.message_rate), Rate(min(limit, _SESSIONS_PER_OWNER) * config.byte_rate))
            for kind, limit in limits.items()
        }
        self._messages = Rate(config.message_rate)
        self._bytes = Rate(config.byte_rate)
        self._errors = Rates(_ERROR_RATE, _ERRORS_AT_ONCE / _ERROR_RATE)
        self._accounts: dict[Owner, Account] = {}
        self._purge_at = _PURGE_ABOVE
        self._nobody = Account(Rate(0), Rate(0))

    @property
    def interval(self) -> float:
        """The seconds that one message of a session takes."""
        return self._messages.interval

    def account(self, owner: Owner | None, now: float) -> Account:
        """What this owner has used; None has no limits. To be kept by whoever asks often, until it is dropped."""
        if owner is None:
            return self._nobody
        account = self._accounts.get(owner)
        if account is None:
            if len(self._accounts) >= self._purge_at:
                self._purge(now)
            account = self._accounts[owner] = Account(*self._of_owners[owner.kind])
        return account

    # In both of the following `Rate.used` and `Rate.wait` are written out: they are called for every message.

    def message(self, session: Paced, account: Account, now: float) -> float:
        """A message: the seconds by which it is too fast, 0 where it is not, `inf` where its session did not stop.

        What its session sends is counted also where it is refused: who goes on gets nowhere. Of its owner what is
        refused uses nothing.
        """
        rate = self._messages
        until = session.messages_until
        session.messages_until = until = (until if until > now else now) + rate.interval
        ahead = until - now - rate.burst
        if ahead > SLACK:
            return ahead if ahead <= rate.burst else inf
        rate = account.messages
        until = account.messages_until
        until = (until if until > now else now) + rate.interval
        ahead = until - now - rate.burst
        if ahead > SLACK:
            return ahead
        account.messages_until = until
        return 0.0

    def received(self, session: Paced, account: Account, size: int, now: float) -> float:
        """So many bytes have come: the seconds for which no more of them should be read."""
        rate = self._bytes
        until = session.bytes_until
        session.bytes_until = until = (until if until > now else now) + rate.interval * size
        ahead = until - now - rate.burst
        rate = account.bytes
        until = account.bytes_until
        account.bytes_until = until = (until if until > now else now) + rate.interval * size
        ahead_of_all = until - now - rate.burst
        if ahead_of_all > ahead:
            ahead = ahead_of_all
        return ahead if ahead > SLACK else 0.0

    def mistake(self, session: Paced, now: float) -> bool:
        """Something that could not be served: whether it was one too many."""
        return self._errors.spend(session.id, 1, now) > 0

    def _purge(self, now: float) -> None:
        # Each look costs as much as it finds, and the next one comes when twice as many are there.
        kept = {}
        for owner, account in self._accounts.items():
            if account.messages_until > now or account.bytes_until > now:
                kept[owner] = account
            else:
                account.dropped = True
        self._accounts = kept
        self._purge_at = max(_PURGE_ABOVE, 2 * len(kept))
