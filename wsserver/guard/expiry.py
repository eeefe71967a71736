"""When a connection needs a fresh token. Times are in seconds of whatever clock the caller has."""

from __future__ import annotations

from math import inf

#: A client is told so many seconds before the end, or at this part of the lifetime before it, whichever is less.
_NOTICE = 60.0
_NOTICE_PART = 0.1


class Expiry:
    """The end at `at`, and the notice before it. `due` is the next of the two."""

    __slots__ = ("at", "due")

    def __init__(self, now: float, at: float) -> None:
        self.at = at
        self.due = at - min(_NOTICE, (at - now) * _NOTICE_PART)

    def left(self, now: float) -> float | None:
        """What is to be said at `now`: the seconds that are left, 0 at the end; None for nothing."""
        if now < self.due:
            return None
        self.due = self.at if now < self.at else inf
        return max(0.0, self.at - now)
