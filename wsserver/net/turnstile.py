"""Whose turn it is: what many send at once, or show at once, must not keep the loop from the others.

A small message that came whole costs little, and is handled when it comes. All else is read in slices, for a share of
each turn of the loop that all connections have together; who has more to be read stands in line behind the others.
Callbacks that show and show without awaiting anything have a line of their own.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

#: For how long one connection is read before others have their turn, in seconds.
SLICE = 0.0005

#: For how long all of them are read in one turn of the loop, or little longer.
SHARE = 0.0005

#: So many callbacks that have given the loop back go on in one turn of it.
_CALLBACKS = 8


class Reader(Protocol):
    """Something of which more is to be read."""

    def read_on(self) -> None:
        """Reads a slice, and stands in line again if that was not all."""


class Turnstile:
    """The line of a server. `clock` gives seconds, and goes on during a turn of the loop."""

    __slots__ = ("_line", "_loop", "_newcomers", "_planned", "_spent", "clock")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = perf_counter) -> None:
        self.clock = clock
        self._loop = loop
        self._line: OrderedDict[Reader, None] = OrderedDict()
        self._newcomers: OrderedDict[Reader, None] = OrderedDict()  # before all of the line
        self._spent = 0.0  # in this turn of the loop
        self._planned = False

    def __len__(self) -> int:
        return len(self._line) + len(self._newcomers)

    @property
    def is_free(self) -> bool:
        """Whether who comes now need not stand in line."""
        return self._spent < SHARE and not self._line and not self._newcomers

    def spent(self, seconds: float) -> None:
        """So long something was read."""
        self._spent += seconds
        self._plan()

    def stand_in_line(self, reader: Reader, *, is_new: bool = False) -> None:
        """`read_on` is called in its turn; who stands there already keeps its place. Who is new comes first."""
        (self._newcomers if is_new else self._line)[reader] = None
        self._plan()

    def leave(self, reader: Reader) -> None:
        """It is not called any more."""
        self._line.pop(reader, None)
        self._newcomers.pop(reader, None)

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            self._loop.call_soon(self._let_in)

    def _let_in(self) -> None:
        """Another turn of the loop has begun."""
        self._planned = False
        self._spent = 0.0
        end = self.clock() + SHARE
        while line := self._newcomers or self._line:
            line.popitem(last=False)[0].read_on()
            if self.clock() > end:
                break
        if self._newcomers and self._line:
            # There may be no end of them: one of the others is read all the same.
            self._line.popitem(last=False)[0].read_on()
        if self._line or self._newcomers:
            self._plan()


class Line:
    """The callbacks of a server that have given the loop back and would go on at once."""

    __slots__ = ("_loop", "_sleeping", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sleeping = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Returns in another turn of the loop, once those before have had theirs."""
        if self._sleeping < _CALLBACKS and not self._waiting:
            # As long as they are few there is nothing to be organised.
            self._sleeping += 1
            try:
                await asyncio.sleep(0)
            finally:
                self._sleeping -= 1
            return
        if not self._waiting:
            self._loop.call_soon(self._let_on)
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        await waiter

    def _let_on(self) -> None:
        for _ in range(min(len(self._waiting), _CALLBACKS)):
            waiter = self._waiting.popleft()
            # Its callback may have been cancelled.
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            self._loop.call_soon(self._let_on)
