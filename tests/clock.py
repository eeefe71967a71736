"""A loop whose clock is virtual: where nothing is left to do but to wait, the time has come at once.

Servers, clients and their sockets are real; only waiting is not. All of them must live on this one loop: a peer in
another process would be overtaken by the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import selectors
import termios
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Executor

T = TypeVar("T")

#: How long the kernel of a busy machine may take to deliver what has been sent on the loopback, in real seconds.
DELIVERY = 0.05


class _Selector(selectors.DefaultSelector):
    """Never waits where a timer says how long: it moves the clock instead, unless something is on its way."""

    now = 0.0
    _unsent = 0
    _moved_at = 0.0  # real time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready and timeout is None:
            ready = super().select(None)
        elif not ready and timeout:
            patience = self._on_its_way()
            if patience > 0:
                ready = super().select(patience)
            else:
                self.now += timeout
        if ready:
            self._moved_at = time.monotonic()
        return ready

    def _on_its_way(self) -> float:
        """For how many real seconds more something may come: bytes were sent, or arrived, just now."""
        unsent = 0
        for key in self.get_map().values():
            with contextlib.suppress(OSError):  # no TCP socket, or one that listens
                unsent += int.from_bytes(fcntl.ioctl(key.fd, termios.TIOCOUTQ, b"\0\0\0\0"), "little")
        if unsent != self._unsent:
            self._unsent, self._moved_at = unsent, time.monotonic()
        since = time.monotonic() - self._moved_at
        # What is unsent is looked at again and again, so that its arrival is seen.
        return min(DELIVERY - since, DELIVERY / 10) if unsent else DELIVERY / 25 - since


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, with the clock of its selector."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Joins its threads in real time: the deadline that newer versions of Python set would come at once."""
        executor: Executor | None = getattr(self, "_default_executor", None)
        if executor is not None:
            executor.shutdown(wait=True)


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
