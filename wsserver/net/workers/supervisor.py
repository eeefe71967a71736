"""Keeps a number of workers alive: starts them, replaces the dead, rolls to new ones, ends all.

Each place has its listening sockets, which stay open here: what waits in them while a worker is replaced is served by
its successor. ::

    starting ─▶ ready ─▶ leaving ─▶ gone      told to drain, by the roll or by anybody
        └─────────┴──────────────────▲        died: the place is taken again after a pause
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from random import random
from typing import TYPE_CHECKING

from ..http import UNREADY
from ..sockets import LONGEST_CLOSE
from .backoff import Backoff
from .handover import name_of
from .relief import Relief

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from ...config import Config
    from .worker import Worker

    Start = Callable[[int, Sequence[socket.socket]], Worker]

logger = logging.getLogger(__name__)

#: What a worker may take for its end beside its timeouts, in seconds.
_SLACK = 10.0


class StartFailed(Exception):
    """The first worker did not come to serve; `status` is for the supervisor to end with."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the first worker did not start: status {status}")
        self.status = status


class Slot:
    """The place of one worker, and of its successors."""

    def __init__(self, index: int, listeners: Sequence[socket.socket], relief: Relief | None) -> None:
        self.index = index
        self.listeners = listeners
        self.relief = relief  # none where the others listen on the same sockets
        self.backoff = Backoff(random)
        self.worker: Worker | None = None  # that serves, or is to
        self.restarts = 0

    def vacant(self) -> None:
        """There is nobody who serves."""
        if self.relief is not None:
            self.relief.begin()

    def filled(self) -> None:
        """There is somebody who does."""
        if self.relief is not None:
            self.relief.end()


class Supervisor:
    """Keeps a worker for each list of sockets in `listeners`; `start` makes it a process."""

    def __init__(self, config: Config, listeners: Sequence[Sequence[socket.socket]], start: Start) -> None:
        shared = len(listeners) > 1 and listeners[0] and listeners[0][0] is listeners[1][0]
        self.slots = [
            Slot(index, sockets, None if shared else Relief(sockets, self._serving))
            for index, sockets in enumerate(listeners)
        ]
        self.workers: set[Worker] = set()  # all processes that live
        self.draining = False
        self.shares = bool(config.redis)  # one worker knows what all have
        self._start_process = start
        self._drain_timeout = config.drain_timeout
        self._close_timeout = 3 * (config.close_timeout or LONGEST_CLOSE) + _SLACK
        self._keepers: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Task[None]] = set()  # of workers whose place another one has taken
        self._rolling: asyncio.Task[None] | None = None
        self._roll_again = asyncio.Event()

    def unready(self) -> str | None:
        """Why clients should go elsewhere; None where each place has a worker that serves."""
        if self.draining:
            return UNREADY
        ready = len(self._serving())
        return None if ready == len(self.slots) else f"{ready} of {len(self.slots)} workers are ready"

    def _serving(self) -> list[Worker]:
        """Those that clients are served by."""
        return [slot.worker for slot in self.slots if slot.worker is not None and slot.worker.state == "ready"]

    def reap(self) -> None:
        """A child has ended, or several."""
        for worker in tuple(self.workers):
            worker.reap()
            if worker.gone.is_set():
                self.workers.discard(worker)

    async def start(self) -> None:
        """Starts the first worker, then the others; returns once each serves, or has failed a first time.

        Raises `StartFailed` where the first one does not come to serve: then none would.
        """
        try:
            worker = self.slots[0].worker = self._start(self.slots[0])
        except OSError as exc:
            logger.error("no process can be started: %s", exc)
            raise StartFailed(1) from exc
        await first_of(worker.ready, worker.gone)
        if not worker.ready.is_set():
            if worker.status != 2:  # else it has said what is wrong with its settings
                logger.error("%s %s before it served anybody", worker.name, worker.end)
            raise StartFailed(worker.status if worker.status and worker.status > 0 else 1)
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in self.slots]
        await asyncio.sleep(0)
        for slot in self.slots:
            if slot.worker is not None:
                await first_of(slot.worker.ready, slot.worker.gone)
        if self._roll_again.is_set():
            self.roll()

    async def keep(self) -> None:
        """Never returns; raises what is a bug of ours."""
        await asyncio.gather(*self._keepers)

    def roll(self) -> None:
        """Replaces all workers, one after the other, by new ones; where one does not start the rest stays."""
        if not self._keepers or (self._rolling is not None and not self._rolling.done()):
            # Once they have started, or once more.
            self._roll_again.set()
        elif not self.draining:
            self._rolling = asyncio.create_task(self._roll())

    async def end(self, hurry: asyncio.Event, kill: asyncio.Event) -> None:
        """Lets all workers run empty; cuts them once `hurry` is set, and kills them once `kill` is."""
        self.draining = True
        tasks = [*self._keepers, *self._endings, *filter(None, (self._rolling,))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for slot in self.slots:
            slot.filled()
            # The port is closed by the last worker that lets it go.
            for listener in slot.listeners:
                listener.close()
        await asyncio.gather(*(self._end(worker, hurry, kill) for worker in tuple(self.workers)))

    # -- one place -----------------------------------------------------------------------------------------------

    def _start(self, slot: Slot) -> Worker:
        worker = self._start_process(slot.index, slot.listeners)
        self.workers.add(worker)
        return worker

    async def _keep(self, slot: Slot) -> None:
        """Sees to it that there is a worker at the place."""
        while True:
            worker = slot.worker
            if worker is None:
                slot.vacant()
                try:
                    worker = slot.worker = self._start(slot)
                except OSError as exc:
                    await self._pause(slot, 0.0, f"{name_of(slot.index)} cannot be started: {exc}")
                    continue
            await first_of(worker.ready, worker.leaving, worker.gone)
            if slot.worker is worker and worker.state == "ready":
                slot.filled()
            await first_of(worker.leaving, worker.gone)
            if slot.worker is not worker:
                continue  # a roll has replaced it
            slot.worker = None
            slot.vacant()
            if worker.gone.is_set():
                why = worker.end
            else:
                # Somebody has told it to. What it answers still, it answers beside its successor.
                why = "leaves"
                self._end_aside(worker)
            await self._pause(slot, worker.served, f"{worker.name} {why}")

    async def _pause(self, slot: Slot, served: float, why: str) -> None:
        pause = slot.backoff.pause(served)
        slot.restarts += 1
        logger.warning("%s; starting another one %s", why, f"in {pause:.1f} s" if pause else "at once")
        await asyncio.sleep(pause)

    def _end_aside(self, worker: Worker) -> None:
        task = asyncio.create_task(self._end(worker, asyncio.Event(), asyncio.Event()))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    # -- the roll ------------------------------------------------------------------------------------------------

    async def _roll(self) -> None:
        while True:
            self._roll_again.clear()
            logger.info("replacing all workers")
            for slot in self.slots:
                if not await self._replace(slot):
                    break
            else:
                logger.info("all workers have been replaced")
            if not self._roll_again.is_set():
                return

    async def _replace(self, slot: Slot) -> bool:
        """Whether a new worker has taken the place; the old one has ended then."""
        try:
            successor = self._start(slot)
        except OSError as exc:
            logger.error("%s cannot be replaced, the others stay: %s", name_of(slot.index), exc)
            return False
        await first_of(successor.ready, successor.gone, self._roll_again)
        if successor.gone.is_set():
            logger.error("%s %s before it served anybody: the old workers stay", successor.name, successor.end)
            return False
        if not successor.ready.is_set():
            # The code has changed once more, while it was starting with what was there before.
            await self._end(successor, asyncio.Event(), asyncio.Event())
            return False
        old, slot.worker = slot.worker, successor
        slot.filled()
        slot.backoff = Backoff(random)
        if old is not None:
            await self._end(old, asyncio.Event(), asyncio.Event())
        return True

    # -- the end -------------------------------------------------------------------------------------------------

    async def _end(self, worker: Worker, hurry: asyncio.Event, kill: asyncio.Event) -> None:
        worker.drain()
        await _within(self._drain_timeout + self._close_timeout, worker.gone, hurry)
        if hurry.is_set() and not worker.gone.is_set():
            worker.cut()
            await _within(self._close_timeout, worker.gone, kill)
        if not worker.gone.is_set():
            logger.error("%s does not end: it is killed", worker.name)
            worker.kill()
            await worker.gone.wait()


async def _within(seconds: float, *events: asyncio.Event) -> None:
    """Returns once one of them is set, or that time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await first_of(*events)


async def first_of(*events: asyncio.Event) -> None:
    """Returns once one of them is set."""
    if any(event.is_set() for event in events):
        return
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
