"""Whether to come back after a loss, and when: decided here, without a clock; done by the chat.

The server says by its close code, or by the status of a refusal, whether it wants to see this client again. Everybody
who lost the same server comes back at another moment: the delay is a random part of a bound that doubles ("full
jitter").
"""

from __future__ import annotations

import random
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ..wire.close import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECONDS = 1

FIRST_DELAY = 0.5 * SECONDS
LONGEST_DELAY = 30 * SECONDS

#: The longest time that a server's word counts for.
LONGEST_WAIT = 24 * 60 * 60 * SECONDS

#: A connection that lived so long was a good one: after its loss the delays begin anew.
LASTING = 10 * SECONDS

#: Of the codes below 4000, those that say nothing against this client. 1014 is what a proxy says for its server.
_INVITING = frozenset(
    (
        CloseCode.GOING_AWAY,
        CloseCode.NO_STATUS,
        CloseCode.ABNORMAL,
        CloseCode.INTERNAL_ERROR,
        CloseCode.SERVICE_RESTART,
        CloseCode.TRY_AGAIN_LATER,
        1014,
    )
)
#: Of the statuses below 500, those that will pass.
_PASSING = frozenset((408, 425, 429))


def may_return(*, code: int | None = None, status: int | None = None) -> bool:
    """Whether to come back after a Close with `code`, or after a refusal with the HTTP `status`.

    With neither nothing answered, or nothing that made sense: it may yet.
    """
    if code is not None:
        return code in _INVITING or 4000 <= code <= 4499
    if status is not None:
        return status in _PASSING or status >= 500
    return True


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a refusal asks for, a day at most, 0.0 where it does not (RFC 9110, section 10.2.3).

    Names are in lower case. A date counts from the server's own, in `date`: our clock may be another one.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT)
    try:
        delay = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    # TypeError: only one of them has a time zone. OverflowError: no year, or no zone, is so large.
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, delay.total_seconds()), LONGEST_WAIT)


class Backoff:
    """The delays between attempts, in seconds. `uniform(a, b)` gives a random number between the two."""

    def __init__(self, uniform: Callable[[float, float], float] | None = None) -> None:
        self._uniform = uniform or random.uniform
        self._bound: float = FIRST_DELAY

    def reset(self) -> None:
        """The next loss is the first of its kind."""
        self._bound = FIRST_DELAY

    def next(self) -> float:
        """How long to wait before the next attempt."""
        bound, self._bound = self._bound, min(self._bound * 2, LONGEST_DELAY)
        return self._uniform(0, bound)
