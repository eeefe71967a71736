"""When connections are written to: flush by need.

After an idle moment of a connection its first event leaves at the end of the same turn of the loop, or with some dozens
of its like; what follows within the flush interval leaves together, by one timer for all connections. Where flushes
themselves take long, as with thousands of connections, a busy loop gathers for longer: else each token would be a write
of its own again, and come later.
"""

from __future__ import annotations

import logging
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from .flow import Pump

logger = logging.getLogger(__name__)

#: How long a callback may hold the loop while its events wait to be flushed, in seconds.
LONGEST_HOLD = 0.001

#: So many that rested leave without waiting for the end of the turn: the first of them would wait for the last. Fewer
#: at a time would come earlier still, but each of them for more: the code that shows and the code that writes would
#: push one another out of the processor's caches.
_BATCH = 32

#: No more than one part in so many of the time of a busy loop goes into flushes that take long.
_FLUSH_SHARE = 5

#: A turn of the loop that takes less than this did nothing, in seconds.
_IDLE_TURN = 50e-6


class Flusher:
    """Runs the pumps that were marked: those that rested in this turn of the loop, the others later and all at once.

    A flush that has not run at `late_after`, by `clock`, waits for a callback that does not let go of the loop.
    """

    __slots__ = (
        "_checked",
        "_due",
        "_gathered",
        "_interval",
        "_loop",
        "_pause",
        "_planned",
        "_rested",
        "_settled",
        "_spent",
        "clock",
        "late_after",
    )

    def __init__(self, loop: AbstractEventLoop, interval: float, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.late_after = inf
        self._loop = loop
        self._interval = interval
        self._pause = interval  # of a pump between two flushes: as long as the interval, or longer
        self._spent = 0.0  # what flushes have taken in this turn of the loop
        self._settled = -inf  # when that was last judged
        self._planned = False  # the flush at the end of this turn
        self._due = inf  # the flush of those that are gathered
        self._checked = 0.0
        self._rested: list[Pump] = []
        self._gathered: list[Pump] = []

    def mark(self, pump: Pump) -> None:
        now = self.clock()
        if now - pump.flushed >= self._pause:
            # Nothing was sent to this one for a while: this is the first event after an idle moment.
            if not self._planned:
                self._planned = True
                self._loop.call_soon(self._flush_rested)
                self._expect(now)
            self._rested.append(pump)
            if len(self._rested) == _BATCH:
                self._flush(now, self._take_rested())
        else:
            if not self._gathered:
                self._due = pump.flushed + self._pause
                self._loop.call_later(self._interval, self._flush_when_due)
                self._expect(self._due)
            self._gathered.append(pump)

    def flush_soon(self, pump: Pump) -> None:
        """One that is marked, behind what this turn of the loop has begun."""
        self._loop.call_soon(self._flush_one, pump)

    def _flush_one(self, pump: Pump) -> None:
        self._flush(self.clock(), [pump])

    def _expect(self, due: float) -> None:
        self.late_after = min(self.late_after, due + LONGEST_HOLD)

    def _flush_rested(self) -> None:
        self._planned = False
        self.late_after = self._due + LONGEST_HOLD
        now = self.clock()
        self._flush(now, self._take_rested())
        self._settle(now)

    def _take_rested(self) -> list[Pump]:
        marked, self._rested = self._rested, []
        return marked

    def _flush_when_due(self) -> None:
        # Timers count whole milliseconds and come early. A busy loop gathers more until the time has really come; one
        # that had nothing else to do since the last look is not kept spinning.
        now = self.clock()
        if now < self._due and now - self._checked > _IDLE_TURN:
            self._checked = now
            self._loop.call_soon(self._flush_when_due)
            return
        marked, self._gathered = self._gathered, []
        self._due = inf
        self.late_after = now + LONGEST_HOLD if self._planned else inf
        self._flush(now, marked)
        self._settle(now)

    def _flush(self, now: float, marked: list[Pump]) -> None:
        for pump in marked:
            pump.marked = False
            pump.flushed = now
            try:
                pump.run()
            except Exception:
                # The others must not wait for ever because of this one.
                logger.exception("a connection could not be written to")
        self._spent += self.clock() - now

    def _settle(self, now: float) -> None:
        """What this turn of the loop has spent says how long others gather."""
        if self._interval:
            # A short flush between long ones does not end their pause.
            left = self._pause - (now - self._settled)
            self._pause = max(self._interval, self._spent * _FLUSH_SHARE, left)
        self._spent = 0.0
        self._settled = now
