"""The one timer of the server.

Whoever has a deadline is visited at it: not before, and at most one `TICK` after. Deadlines lie in slots of one tick
each, so that ten thousand connections cost one timer and, each, one place in a set. Where thousands are due in one
tick, others have their turn between them.
"""

from __future__ import annotations

import logging
from math import ceil, inf
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

#: How exact a deadline is, in seconds.
TICK = 0.25

#: For how long visits are made before others have their turn, in seconds.
_SLICE = 0.002


class Visited(Protocol):
    """Something with deadlines."""

    #: When it is to be visited next, in seconds of the loop's clock, `inf` for never; written by the sweeper only.
    due: float

    def visit(self, now: float) -> float:
        """Does what is due at `now` and returns the next deadline, `inf` for none."""


class Sweeper:
    """Visits what was scheduled, by a timer of `loop`, once `start` has been called. `clock` gives seconds.

    `on_tick` is told how late each tick came, in seconds: so late is the loop.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        on_tick: Callable[[float], object] | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._loop = loop
        self._on_tick = on_tick
        self._clock = clock
        self._sweeping: Iterator[None] | None = None
        self._timer: TimerHandle | None = None
        self._slots: dict[int, set[Visited]] = {}
        self._late = False
        self._swept = 0  # all slots up to this one have been visited

    def __len__(self) -> int:
        """How many visits are planned."""
        return sum(map(len, self._slots.values()))

    def start(self) -> None:
        self._swept = int(self._loop.time() / TICK)
        self._plan()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sweeping = None
        self._slots.clear()

    def schedule(self, visited: Visited, due: float) -> None:
        """Plans the next visit, instead of the one that was planned before."""
        if visited.due != inf:
            self.cancel(visited)
        if due != inf:
            # What is long past is due at the next sweep.
            visited.due = due = max(due, (self._swept + 1) * TICK)
            number = _slot(due)
            slot = self._slots.get(number)
            if slot is None:
                slot = self._slots[number] = set()
            slot.add(visited)

    def limit(self, visited: Visited, timeout: float) -> None:
        """The same, so many seconds from now; 0 for never."""
        self.schedule(visited, self._loop.time() + timeout if timeout else inf)

    def cancel(self, visited: Visited) -> None:
        """No visit any more; nothing is kept of the object."""
        if visited.due != inf:
            slot = self._slots.get(_slot(visited.due))
            if slot is not None:
                slot.discard(visited)
            visited.due = inf

    def sweep(self, now: float) -> None:
        """Makes all visits that are due at `now`."""
        for _ in self._visits(now):
            """One by one."""

    def _visits(self, now: float) -> Iterator[None]:
        last = int(now / TICK)
        for number in sorted(number for number in self._slots if number <= last):
            for visited in self._slots.pop(number, ()):
                # A visit before this one may have cancelled or postponed it.
                if visited.due <= now:
                    self._visit(visited, now)
                    yield
        self._swept = last

    def _visit(self, visited: Visited, now: float) -> None:
        visited.due = inf
        try:
            due = visited.visit(now)
        except Exception:
            logger.exception("a visit of %r failed", visited)
            due = now + 1
        # A visit that planned another one by itself has said so.
        if visited.due == inf:
            self.schedule(visited, due)

    def _plan(self) -> None:
        self._timer = self._loop.call_at((self._swept + 1) * TICK, self._tick)

    def _tick(self) -> None:
        if self._on_tick is not None and not self._late:
            # Timers may come early, by less than they can tell.
            self._on_tick(max(0.0, self._loop.time() - (self._swept + 1) * TICK))
        if self._loop.time() > (self._swept + 3) * TICK and not self._late:
            # The loop was held up: signs of life may lie unread, so it reads them first.
            self._late = True
            self._loop.call_soon(self._loop.call_soon, self._tick)
            return
        self._late = False
        self._sweeping = self._visits(self._loop.time())
        self._go_on()

    def _go_on(self) -> None:
        end = self._clock() + _SLICE
        for _ in self._sweeping or ():
            if self._clock() > end:
                self._loop.call_soon(self._go_on)
                return
        if self._sweeping is not None:
            self._sweeping = None
            self._plan()


def _slot(due: float) -> int:
    return ceil(due / TICK)
