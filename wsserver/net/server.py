"""The life and death of one server process: its listeners, and all that lives on its loop."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Self

from ..config import Config
from ..errors import ConfigError
from ..wire.close import CloseCode
from .admission import Opening
from .dispatch import Conversation, Echo
from .flow import Flusher
from .run import check_callback
from .sockets import Sockets
from .sweeper import TICK, Sweeper
from .turns import Turns

if TYPE_CHECKING:
    from types import TracebackType

    from .run import Generate

logger = logging.getLogger(__name__)

#: How many accepted connections may wait for the loop. The kernel cuts it to its own maximum.
_BACKLOG = 4096

#: The kernel's own queue would hold megabytes that a slow reader has not taken, and "stop" would come behind them.
_NOTSENT_LOWAT = 2**14


class Server:
    """Serves `generate` on the running loop::

        async with wsserver.Server(generate, Config(port=0)) as server:
            print(server.urls)
            await asyncio.Event().wait()

    `generate` is called with a `Turn` for every message: an async generator that yields what the person is to see, or
    a coroutine function that calls `turn.send`. Leaving the block ends all turns and connections. Signals are never
    touched. Entering raises `ConfigError` where the address cannot be had. A server serves once: make another one to
    serve again.
    """

    def __init__(self, generate: Generate, config: Config | None = None) -> None:
        self.config = config or Config()
        self.closing = False
        self.sockets = Sockets()
        self.urls: list[str] = []
        self.echo = Echo()
        self._generate = check_callback(generate)
        self._listeners: list[asyncio.AbstractServer] = []

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self.sweeper = Sweeper(self.loop)
        self.flusher = Flusher(self.loop, self.config.flush_interval)
        self.turns = Turns(self._generate, self.config, self.loop, self.sweeper, self.flusher)
        self.conversation = Conversation(self.turns, self.config)
        sockets = await self._bind()
        self.sweeper.start()
        for listener in sockets:
            self._listeners.append(
                await self.loop.create_server(lambda: Opening(self), sock=listener, backlog=_BACKLOG)
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all turns with `server_shutdown` and all connections with 1012.

        Returns when all connections are gone, and all callbacks have ended or used up `close_timeout`.
        """
        self.closing = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for session in list(self.conversation.sessions.values()):
            self.turns.end_all(session, "shutdown")
        for member in self.sockets:
            member.close(CloseCode.SERVICE_RESTART, "the server is shutting down")
        await self._wait_for_callbacks()
        # What does not close in time is aborted by the sweeper.
        await self.sockets.emptied()
        self.sweeper.stop()

    async def _wait_for_callbacks(self) -> None:
        tasks = [run.task for run in self.turns.runs]
        if tasks:
            # Those that use up their time are abandoned by the sweeper, which makes most of them end after all.
            timeout = self.config.close_timeout
            _, pending = await asyncio.wait(tasks, timeout=timeout + 2 * TICK if timeout else None)
            for task in pending:
                logger.warning("a callback has not ended in time and is left behind: %r", task)

    async def _bind(self) -> list[socket.socket]:
        host, port = self.config.host, self.config.port
        try:
            infos = await self.loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
            )
        except socket.gaierror as exc:
            raise ConfigError(f"--host {host} is no address of this machine ({exc.strerror})") from exc
        sockets: list[socket.socket] = []
        try:
            for family, _, _, _, address in dict.fromkeys(infos):
                # With port 0 the first address chooses, and the others take the same port.
                chosen = sockets[0].getsockname()[1] if sockets and not port else port
                sockets.append(_listen(family, str(address[0]), chosen))
        except OSError as exc:
            for bound in sockets:
                bound.close()
            advice = (
                "another --port, or 0 for a free one" if exc.errno == errno.EADDRINUSE else "another --host or --port"
            )
            raise ConfigError(f"cannot listen on {host} port {port}: {exc.strerror}; choose {advice}") from exc
        for bound in sockets:
            name, number = bound.getsockname()[:2]
            shown = f"[{name}]" if bound.family == socket.AF_INET6 else name
            self.urls.append(f"ws://{shown}:{number}{self.config.path}")
        return sockets


def _listen(family: int, host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), family=family)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        # Connections inherit it from the socket that accepts them.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)
    return listener
