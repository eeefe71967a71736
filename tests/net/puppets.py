"""Workers without a process: a test says when they are ready, leave and die. All else of them is real."""

from __future__ import annotations

import asyncio
import signal
from math import inf
from typing import TYPE_CHECKING, cast

from wsserver.net.workers.worker import Worker

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


class Fate:
    """In place of the process: its pid, and what was done to it."""

    def __init__(self, pid: int, signalled: Callable[[int], None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.signals: list[int] = []
        self._signalled = signalled

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            self.signals.append(number)
            self._signalled(number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Puppet(Worker):
    """Does nothing by itself; `obedient` ones end when they are told to."""

    def __init__(self, index: int, pid: int, obedient: bool = True) -> None:
        self.index = index
        self.ready, self.leaving, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.obedient = obedient
        self.fate = Fate(pid, self._signalled)
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        self._ended_at = inf
        self._process = cast("subprocess.Popen[bytes]", self.fate)

    def serve(self) -> None:
        self.ready.set()
        self.since = self._loop.time()

    def die(self, status: int) -> None:
        self.fate.returncode = status
        self.reap()

    def reap(self) -> None:
        if not self.gone.is_set() and self.fate.returncode is not None:
            self._ended_at = self._loop.time()
            self.gone.set()

    def _signalled(self, number: int) -> None:
        if self.obedient or number == signal.SIGKILL:
            ready = self.ready.is_set() and number != signal.SIGKILL
            self.die(0 if ready else -number)
