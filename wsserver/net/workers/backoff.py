"""How long to wait before what has died is started again. No clock: whoever asks says how long it lived."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: The second attempt in a row waits so long, each further one twice as long, up to a bound; in seconds.
_SECOND = 0.5
_LONGEST = 30.0

#: What served so long was well: the next attempt is a first one.
_WELL = 60.0


class Backoff:
    """The pauses of one place. `random` gives numbers from 0 to 1: places that died together do not start together."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    def pause(self, served: float) -> float:
        """Seconds to wait, now that one has died that `served` so many seconds: none the first time."""
        if served >= _WELL:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        longest = min(_LONGEST, _SECOND * 2.0 ** min(self._failures - 2, 16))
        return longest * (0.5 + self._random() / 2)
