"""One worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
from math import inf
from typing import TYPE_CHECKING, Any

from . import handover
from .inquiry import inquire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..admin.requests import Request, Response

logger = logging.getLogger(__name__)

#: For the answer of a worker, in seconds: longer than a push may wait.
_PATIENCE = 10.0


class Worker:
    """A process that was started by `command` on `listeners`, at the place `index`. Raises `OSError` where none can be.

    It is starting until `ready` is set, then it serves; from `leaving` on nobody is accepted any more, and with `gone`
    it has ended. The supervisor calls `reap` whenever a child of its may have ended.
    """

    def __init__(
        self,
        index: int,
        listeners: Sequence[socket.socket],
        command: Sequence[str],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.index = index
        self.ready, self.leaving, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.since = loop.time()  # when it was started; once it is ready, since when it is
        self._loop = loop
        self._ended_at = inf
        self._channel, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    env={**os.environ, handover.VARIABLE: handover.written(index, theirs, listeners)},
                    pass_fds=[theirs.fileno(), *(listener.fileno() for listener in listeners)],
                    stdin=subprocess.DEVNULL,
                    # Ctrl-C at a terminal is for the supervisor, who says it to the others once.
                    start_new_session=True,
                )
        except OSError:
            self._channel.close()
            raise
        self._channel.setblocking(False)
        loop.add_reader(self._channel.fileno(), self._hear)

    def __repr__(self) -> str:
        return f"<Worker {self.index} pid {self.pid} {self.state}>"

    @property
    def name(self) -> str:
        return f"{handover.name_of(self.index)} (process {self.pid})"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def served(self) -> float:
        """For how many seconds it has served, up to now or to its end."""
        return min(self._loop.time(), self._ended_at) - self.since if self.ready.is_set() else 0.0

    @property
    def status(self) -> int | None:
        """Its exit status, negative where a signal has killed it; None while it lives."""
        return self._process.returncode

    @property
    def state(self) -> str:
        for event, name in ((self.gone, "gone"), (self.leaving, "leaving"), (self.ready, "ready")):
            if event.is_set():
                return name
        return "starting"

    def brief(self) -> dict[str, Any]:
        """As the admin port shows it; `seconds` is since when it serves, or since when it is starting."""
        seconds = round(self._loop.time() - self.since, 3)
        return {"worker": self.index, "pid": self.pid, "state": self.state, "seconds": seconds}

    @property
    def end(self) -> str:
        """How it has ended, for the log."""
        status = self.status
        if status is not None and status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"ended with status {status}"

    def reap(self) -> None:
        """Sees whether the process has ended."""
        if not self.gone.is_set() and self._process.poll() is not None:
            self._ended_at = self._loop.time()
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self.gone.set()

    # -- orders --------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """It is to serve nobody new, and to end once all answers are complete. One that is starting ends at once."""
        self.leaving.set()
        self._process.send_signal(signal.SIGTERM)

    def cut(self) -> None:
        """It is to end now, its answers with it."""
        self.leaving.set()
        self._process.send_signal(signal.SIGINT if self.ready.is_set() else signal.SIGKILL)

    def kill(self) -> None:
        self.leaving.set()
        self._process.kill()

    async def ask(self, request: Request) -> Response:
        """Its answer to a request of the admin port. Raises `OSError`, `TimeoutError` too, where there is none."""
        if self.gone.is_set() or not self.ready.is_set():
            raise ConnectionRefusedError("it does not serve")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._channel, [handover.REQUEST], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        async with asyncio.timeout(_PATIENCE):
            return await inquire(ours, request)

    def hand_over(self, number: int, client: socket.socket) -> None:
        """It serves a client that was accepted on the socket of another one, the one at this place in its list.

        The socket may be closed then. Raises `OSError` where the worker takes no more.
        """
        socket.send_fds(self._channel, [bytes((handover.CLIENT + number,))], [client.fileno()])

    def _hear(self) -> None:
        try:
            words = self._channel.recv(64)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        for word in words:
            if bytes((word,)) == handover.READY:
                self.ready.set()
                self.since = self._loop.time()
                logger.info("%s serves", self.name)
            elif bytes((word,)) == handover.LEAVING:
                self.leaving.set()
        if not words:
            # It has ended, or is about to: `reap` will see it.
            self._loop.remove_reader(self._channel.fileno())
