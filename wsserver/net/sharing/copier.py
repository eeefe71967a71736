"""Copies the sessions of a server to the store: one flush at a time in each of its lanes, while the next gathers.

Tokens are copied in passing, several times a second; where somebody waits, for the `ack` of a message or for a token
that may not be shown before, the flush follows at once. A store that is out of reach is tried again, less and less
often; meanwhile sessions go on, and what is to be written is what their logs still hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from random import random
from typing import TYPE_CHECKING

from ...errors import StoreError
from ...store.port import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...store.port import Store, Write
    from .journal import Journal

logger = logging.getLogger(__name__)

#: For so long tokens gather that nobody waits for, in seconds: each write costs as much as thirty of them.
_GATHERING = 0.2

#: About so many bytes of events go in one flush.
_FLUSH_SIZE = 2**22

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0


class Copier:
    """`lost` is told what is written by somebody else, `released` what may be, now that it is all stored."""

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        interval: float,
        lost: Callable[[Journal], None],
        released: Callable[[Journal], None],
    ) -> None:
        self.out = False  # of reach
        self.outages = 0
        self.errors = 0  # calls that failed
        self._behind_since: float | None = None  # since when there is something that the store does not have
        self.journals: set[Journal] = set()
        self._store = store
        self._loop = loop
        self._interval = interval
        self._lost = lost
        self._released = released
        self._waiting: dict[Journal, None] = {}
        self._urgent: dict[Journal, None] = {}
        self._flushes: dict[str, asyncio.Task[None]] = {}  # by lane, one at a time
        self._under_way: set[Journal] = set()
        self._misses: Counter[str | None] = Counter()  # in a row, by lane; those of all other calls under None
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        self._settled.set()
        self._task = loop.create_task(self._run())

    async def stop(self) -> None:
        """Copies no more; what is under way may be done or not."""
        tasks = (self._task, *self._flushes.values())
        for task in tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.wait(tasks)

    @property
    def lag(self) -> float:
        """How old, about, the oldest event is that the store does not have, in seconds."""
        return self._loop.time() - self._behind_since if self._behind_since is not None else 0.0

    async def settled(self) -> None:
        """Returns once all that was to be written is stored."""
        await self._settled.wait()

    # -- called by journals ----------------------------------------------------------------------------------------

    def mark(self, journal: Journal) -> None:
        self._settled.clear()
        if self._behind_since is None:
            self._behind_since = self._loop.time()
        if journal.urgent:
            self._urgent[journal] = None
            self._wake.set()
        else:
            self._waiting[journal] = None
            if self._timer is None:
                self._timer = self._loop.call_later(_GATHERING, self._gathered)

    def when_settled(self, journal: Journal, outcome: Outcome) -> None:
        (self._lost if outcome is Outcome.FENCED else self._released)(journal)

    def forget(self, journal: Journal) -> None:
        self.journals.discard(journal)

    # -- reach -----------------------------------------------------------------------------------------------------

    def missed(self, exc: StoreError, lane: str | None = None) -> None:
        """The store did not answer: once may happen, twice means that it is out of reach."""
        self.errors += 1
        self._misses[lane] += 1
        if self._misses[lane] > 1 and not self.out:
            self.out = True
            self.outages += 1
            logger.warning("the store is out of reach: sessions go on without it, and cannot move (%s)", exc)
            for journal in tuple(self.journals):
                if not journal.log.strict:
                    journal.go_on()

    def reached(self, lane: str | None = None) -> None:
        """It did."""
        del self._misses[lane]
        if self.out and all(misses < 2 for misses in self._misses.values()):
            self.out = False
            logger.warning("the store is in reach again")

    # -- the task --------------------------------------------------------------------------------------------------

    def _gathered(self) -> None:
        self._timer = None
        self._urgent.update(self._waiting)
        self._waiting.clear()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            began = self._loop.time()
            for lane, journals in self._due().items():
                self._flushes[lane] = self._loop.create_task(self._flush(lane, journals, began))
            for idle in self._misses.keys() - self._flushes.keys() - {None}:
                # Its sessions have ended, or go another way: there is a new primary.
                self.reached(idle)
            if not (self._urgent or self._waiting or self._flushes):
                self._settled.set()
            await self._wake.wait()
            await asyncio.sleep(max(0.0, began + self._interval - self._loop.time()))

    def _due(self) -> dict[str, list[Journal]]:
        """What can be written now, by lane: one that is under way gathers meanwhile."""
        due: dict[str, list[Journal]] = {}
        for journal in tuple(self._urgent):
            lane = self._store.lane(journal.session.id)
            # A session whose lane has changed has one write at a time all the same.
            if lane not in self._flushes and journal not in self._under_way:
                due.setdefault(lane, []).append(journal)
        return due

    async def _flush(self, lane: str, due: list[Journal], began: float) -> None:
        try:
            await self._write(lane, due, began)
        finally:
            del self._flushes[lane]
            self._wake.set()

    async def _write(self, lane: str, due: list[Journal], began: float) -> None:
        journals: list[Journal] = []
        writes: list[Write] = []
        size = 0
        for journal in due:
            self._urgent.pop(journal, None)
            self._waiting.pop(journal, None)
            if journal.left:
                continue
            write = journal.next_write(began)
            journals.append(journal)
            writes.append(write)
            size += _size(write)
            if size > _FLUSH_SIZE:
                break
        if not writes:
            return
        self._under_way.update(journals)
        try:
            outcomes = await self._store.write(writes)
        except StoreError as exc:
            self.missed(exc, lane)
            for journal in journals:
                journal.hurry()
            # Processes that lost it together do not come back together.
            delay = min(_FIRST_DELAY * 2.0 ** min(self._misses[lane] - 1, 10), _LONGEST_DELAY)
            await asyncio.sleep(delay * (0.5 + random()))
            return
        finally:
            self._under_way.difference_update(journals)
        self.reached(lane)
        if self._misses.keys() <= {None}:
            # What was marked before has been written, up to a bound.
            self._behind_since = began if self._urgent or self._waiting else None
        # What has left meanwhile wants to know nothing.
        for journal, outcome in zip(journals, outcomes, strict=True):
            try:
                if not journal.left:
                    journal.settle(outcome)
            except Exception:
                logger.exception("%r could not be copied", journal.session)


def _size(write: Write) -> int:
    return sum(sum(map(len, piece.values)) for piece in write.batch.pieces) if write.batch is not None else 0
