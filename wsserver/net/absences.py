"""Sessions whose client is away: how long each may wait, and how many of them there may be."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from ..config import NO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..chat.session import Session
    from ..config import Config
    from ..guard.seats import Owner


class Waiting(Protocol):
    """Who waits for the absent."""

    def expired(self, absence: Absence) -> None:
        """Its time is up."""


class Absence:
    """A session that waits for its client; in the sweeper it stands for the end of its time."""

    __slots__ = ("_waiting", "due", "owner", "session")

    def __init__(self, session: Session, owner: Owner | None, waiting: Waiting) -> None:
        self.session = session
        self.owner = owner
        self.due = inf
        self._waiting = waiting

    def visit(self, now: float) -> float:
        self._waiting.expired(self)
        return inf


class Absences:
    """All of them, the longest first.

    There are never more than there may be connections, in all, of one user, and of one address where there is no user:
    else whoever comes and goes in haste would fill the memory of those who stay.
    """

    def __init__(self, config: Config) -> None:
        self._limit = config.max_connections or NO_LIMIT
        self._limits = {
            "user": config.max_connections_per_user or NO_LIMIT,
            "address": config.max_connections_per_ip or NO_LIMIT,
        }
        self._all: dict[Absence, None] = {}
        self._of: dict[Owner, dict[Absence, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Absence]:
        """The longest first; changes meanwhile are allowed."""
        return iter(tuple(self._all))

    def surplus(self, owner: Owner | None) -> Absence | None:
        """The one that has to go before this owner can leave another session behind, if one has to."""
        if len(self._all) >= self._limit:
            return next(iter(self._all))
        if owner is not None and len(mine := self._of.get(owner, {})) >= self._limits[owner.kind]:
            return next(iter(mine))
        return None

    def add(self, absence: Absence) -> None:
        self._all[absence] = None
        if absence.owner is not None:
            self._of.setdefault(absence.owner, {})[absence] = None

    def remove(self, absence: Absence) -> None:
        del self._all[absence]
        if absence.owner is not None:
            mine = self._of[absence.owner]
            del mine[absence]
            if not mine:
                del self._of[absence.owner]
