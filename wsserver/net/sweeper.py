"""The one timer of the server.

Whoever has a deadline is visited at it: not before, and at most one `TICK` after. Deadlines lie in slots of one tick
each, so that ten thousand connections cost one timer and, each, one place in a list.
"""

from __future__ import annotations

import logging
from math import ceil, inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

logger = logging.getLogger(__name__)

#: How exact a deadline is, in seconds.
TICK = 0.25


class Visited(Protocol):
    """Something with deadlines."""

    #: When it is to be visited next, in seconds of the loop's clock; written by the sweeper only.
    due: float

    def visit(self, now: float) -> float:
        """Does what is due at `now` and returns the next deadline, `inf` for none."""


class Sweeper:
    """Visits what was scheduled. `sweep` is called by a timer of `loop` once `start` has been called."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: TimerHandle | None = None
        self._slots: dict[int, list[Visited]] = {}
        self._swept = 0  # all slots up to this one have been visited

    def __len__(self) -> int:
        """How many visits are planned; those that have been cancelled go when their time comes."""
        return sum(map(len, self._slots.values()))

    def start(self) -> None:
        now = self._loop.time()
        self._swept = int(now / TICK)
        self._timer = self._loop.call_at(now + TICK, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots.clear()

    def schedule(self, visited: Visited, due: float) -> None:
        """Plans the next visit. An earlier plan for the same object no longer counts."""
        visited.due = due
        if due != inf:
            self._slots.setdefault(max(ceil(due / TICK), self._swept + 1), []).append(visited)

    def cancel(self, visited: Visited) -> None:
        """No visit any more."""
        visited.due = inf

    def sweep(self, now: float) -> None:
        """Makes all visits that are due at `now`."""
        last = int(now / TICK)
        for number in sorted(number for number in self._slots if number <= last):
            for visited in self._slots.pop(number, ()):
                # Rescheduled or cancelled since: its plan is another one now.
                if visited.due <= now:
                    self._visit(visited, now)
        self._swept = last

    def _visit(self, visited: Visited, now: float) -> None:
        visited.due = inf
        try:
            due = visited.visit(now)
        except Exception:
            logger.exception("a visit of %r failed", visited)
            return
        # A visit that ended in `schedule` or `cancel` has said so itself.
        if visited.due == inf and due != inf:
            self.schedule(visited, due)

    def _tick(self) -> None:
        now = self._loop.time()
        self.sweep(now)
        self._timer = self._loop.call_at(now + TICK, self._tick)
