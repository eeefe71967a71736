"""How many, and how fast. Keys are addresses or users; `now` is in seconds of whatever clock the caller has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import NO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Hashable

#: So many seconds' worth of a rate may come at once: all tabs of an office come back together when its network does.
BURST = 4.0

#: What is too fast by less than this is not: sums of floats are off by more than nothing, and by less than this.
SLACK = 0.001

#: Fewer keys are not worth looking through.
_PURGE_ABOVE = 1024


class Counts:
    """How many of something each key holds: never more than `limit`, 0 for no limit. Who holds none costs nothing."""

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit or NO_LIMIT
        self._held: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """How many keys hold something."""
        return len(self._held)

    def __getitem__(self, key: Hashable) -> int:
        return self._held.get(key, 0)

    def take(self, key: Hashable) -> bool:
        """One more, or False where the key holds all it may."""
        held = self._held.get(key, 0)
        if held >= self._limit:
            return False
        self._held[key] = held + 1
        return True

    def release(self, key: Hashable) -> None:
        """One less; it must have been taken."""
        held = self._held[key] - 1
        if held:
            self._held[key] = held
        else:
            del self._held[key]


class Rate:
    """So many each second, `burst` seconds' worth of them at once; 0 for no limit.

    What a key has used is one number, the time at which it will have used nothing (the theoretical arrival time of the
    generic cell rate algorithm, ITU-T I.371).
    """

    __slots__ = ("burst", "interval")

    def __init__(self, rate: float, burst: float = BURST) -> None:
        self.interval = 1 / rate if rate else 0.0
        # Of the slowest rates, too, one may come at once.
        self.burst = max(burst, self.interval)

    def used(self, until: float, now: float) -> float:
        """The number behind one more, `until` being the one before it."""
        return max(until, now) + self.interval

    def wait(self, until: float, now: float) -> float:
        """The seconds by which `until`, as `used` gave it, is too far ahead; 0 where it is not."""
        ahead = until - now - self.burst
        return ahead if ahead > SLACK else 0.0


class Rates:
    """A rate for each of many keys. It remembers only those that have used something of late."""

    __slots__ = ("_purge_at", "_rate", "_until")

    def __init__(self, rate: float, burst: float = BURST) -> None:
        self._rate = Rate(rate, burst)
        self._until: dict[Hashable, float] = {}
        self._purge_at = _PURGE_ABOVE

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._until)

    def take(self, key: Hashable, now: float) -> float:
        """One more, now; returns 0, or the seconds to wait where it is too fast. What is refused uses nothing."""
        rate = self._rate
        if not rate.interval:
            return 0.0
        until = rate.used(self._until.get(key, now), now)
        wait = rate.wait(until, now)
        if not wait:
            self._remember(key, until, now)
        return wait

    def spend(self, key: Hashable, amount: int, now: float) -> float:
        """So many more, whether that is too fast or not; returns 0, or the seconds to wait before the next."""
        rate = self._rate
        if not rate.interval:
            return 0.0
        until = max(self._until.get(key, now), now) + rate.interval * amount
        self._remember(key, until, now)
        ahead = until - now - rate.burst
        return ahead if ahead > SLACK else 0.0

    def _remember(self, key: Hashable, until: float, now: float) -> None:
        self._until[key] = until
        if len(self._until) > self._purge_at:
            self._purge(now)

    def _purge(self, now: float) -> None:
        # Each look costs as much as it finds, and the next one comes when twice as many are there.
        self._until = {key: until for key, until in self._until.items() if until > now}
        self._purge_at = max(_PURGE_ABOVE, 2 * len(self._until))
