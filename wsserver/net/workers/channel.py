"""The worker's end of the channel to its supervisor."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from .handover import CLIENT, LEAVING, READY

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

logger = logging.getLogger(__name__)

#: No child of the application may inherit what comes.
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Channel:
    """Says how the worker is, and serves the connections that the supervisor hands over.

    `orphaned` is called where the supervisor is gone. Close it in the end.
    """

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, orphaned: Callable[[], None]) -> None:
        self._socket = sock
        self._loop = loop
        self._orphaned = orphaned
        self._tasks: set[asyncio.Task[None]] = set()
        sock.setblocking(False)

    def serve(self, protocol: Callable[[], asyncio.Protocol], adopt: Callable[[int, socket.socket], None]) -> None:
        """Clients are served from now on, and what the supervisor hands over.

        `protocol` is for its requests; clients, and the numbers of the sockets to which they came, are for `adopt`.
        """
        self._protocol = protocol
        self._adopt = adopt
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._say(READY)

    def leaving(self) -> None:
        """They are served no more."""
        self._say(LEAVING)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _say(self, word: bytes) -> None:
        if self._socket.fileno() >= 0:
            try:
                self._socket.send(word)
            except OSError as exc:
                # That it is gone, reading tells.
                logger.debug("the supervisor cannot be told %r: %s", word, exc)

    def _readable(self) -> None:
        try:
            # One connection comes with each byte.
            word, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1, _CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            word, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            sock = socket.socket(fileno=descriptor)
            sock.setblocking(False)
            if word[0] >= CLIENT:
                self._adopt(word[0] - CLIENT, sock)
            else:
                task = self._loop.create_task(self._serve(sock))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        if not word:
            self.close()
            self._orphaned()

    async def _serve(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, sock)
        except OSError as exc:
            logger.debug("a request of the supervisor came to nothing: %s", exc)
            sock.close()
