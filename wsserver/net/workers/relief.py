"""Who comes to the socket of a worker that is not there: accepted here, and served by the others.

What waits in a listening socket can be served only where that is accepted. A successor that is there at once does so
itself; one that takes long to start, or one that dies again and again, would keep a part of all clients waiting.
"""

from __future__ import annotations

import asyncio
import logging
from random import shuffle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from .worker import Worker

logger = logging.getLogger(__name__)

#: So long a successor may take before others help, and so often is looked whether there are any; in seconds.
_AFTER = 1.0
_AGAIN = 0.25


class Relief:
    """For the `listeners` of one place; `others` gives the workers that serve at this moment."""

    def __init__(self, listeners: Sequence[socket.socket], others: Callable[[], list[Worker]]) -> None:
        self._listeners = listeners
        self._others = others
        self._timer: asyncio.TimerHandle | None = None
        self._accepting = False

    def begin(self) -> None:
        """There is no worker: whoever comes is helped, unless `end` is called soon."""
        if self._timer is None and not self._accepting:
            self._timer = asyncio.get_running_loop().call_later(_AFTER, self._help)

    def end(self) -> None:
        """The worker is there, or none is wanted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop()

    def _help(self) -> None:
        self._timer = None
        self._accepting = True
        loop = asyncio.get_running_loop()
        for number, listener in enumerate(self._listeners):
            listener.setblocking(False)
            loop.add_reader(listener.fileno(), self._accept, number, listener)

    def _stop(self) -> None:
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                asyncio.get_running_loop().remove_reader(listener.fileno())

    def _accept(self, number: int, listener: socket.socket) -> None:
        workers = self._others()
        try:
            # Where nobody serves they wait in the queue, where the successor finds them.
            client = listener.accept()[0] if workers else None
        except (BlockingIOError, ConnectionAbortedError):
            # The client is gone, or the successor was faster.
            return
        except OSError as exc:
            logger.warning("nobody can be accepted for a worker that is not there: %s", exc)
            client = None
        if client is None:
            self._stop()
            self._timer = asyncio.get_running_loop().call_later(_AGAIN, self._help)
            return
        shuffle(workers)
        with client:
            for worker in workers:
                try:
                    worker.hand_over(number, client)
                    return
                except OSError as exc:
                    logger.warning("%s takes no client of another one: %s", worker.name, exc)
