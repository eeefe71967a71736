"""Several processes on one port: the process that supervises them, its signals, and its admin port."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from ...errors import ConfigError
from .. import logs
from ..admin import exposition, gate
from ..binding import Binding, url_of
from ..listeners import inherited
from ..output import announce
from ..sockets import Sockets
from ..sweeper import Sweeper
from .gathering import Gathering
from .supervisor import StartFailed, Supervisor
from .worker import Worker

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from ...config import Config

logger = logging.getLogger(__name__)


def supervise(config: Config) -> None:
    """Keeps `config.workers` processes, each this very command line started anew, until SIGINT or SIGTERM.

    The first signal lets them run empty, the second cuts their answers, the third kills them; SIGHUP replaces them one
    after the other, so that they run what the application is now. Raises `ConfigError`, and `SystemExit` where the
    first one does not come to serve.
    """
    if sys.platform == "win32":
        raise ConfigError("--workers needs a Unix: here, start one process for each port")
    logs.set_up(config)
    try:
        with suppress(KeyboardInterrupt), asyncio.Runner() as runner:
            runner.run(_House(config).supervise(inherited()))
    except StartFailed as exc:
        raise SystemExit(exc.status) from None


class _House:
    """What the supervising process has of a server: an admin port, and the signals of a process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.sockets = Sockets()
        self._stop, self._hurry, self._kill = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def supervise(self, given: Sequence[socket.socket]) -> None:
        """Until it is told to end; `given` sockets are shared by all workers. Raises `ConfigError`, `StartFailed`."""
        config = self.config
        self.loop = asyncio.get_running_loop()
        self.sweeper = Sweeper(self.loop)
        binding = Binding(config)
        listeners = [given] * config.workers if given else await binding.bind(self.loop, config.workers)
        supervisor = Supervisor(config, listeners, self._start)
        admin_token = config.admin_token or token_urlsafe(24)
        admin: asyncio.AbstractServer | None = None
        try:
            if config.admin_port:
                exposition.preload()
                way_in = gate.Gate(config.admin_host, admin_token, supervisor.unready, Gathering(supervisor))
                admin = await gate.listen(self, way_in)
            self._handle_signals(supervisor)
            self.sweeper.start()
            await self._keep(supervisor, admin_token)
        finally:
            if supervisor.workers:
                logger.info("shutting down %d processes", len(supervisor.workers))
            await supervisor.end(self._hurry, self._kill)
            binding.remove_file()
            if admin is not None:
                admin.close()
            for member in self.sockets:
                member.close(0)
            await self.sockets.emptied()
            self.sweeper.stop()

    async def _keep(self, supervisor: Supervisor, admin_token: str) -> None:
        """Starts the workers and keeps them, until it is to stop."""
        starting = asyncio.create_task(supervisor.start())
        await self._until_stopped(starting)
        if not self._stop.is_set():
            listeners = supervisor.slots[0].listeners
            scheme = "wss" if self.config.ssl_certfile else "ws"
            announce((url_of(one, scheme, self.config.path) for one in listeners), self.config, admin_token)
            await self._until_stopped(asyncio.create_task(supervisor.keep()))

    async def _until_stopped(self, task: asyncio.Task[None]) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            task.result()
        else:
            task.cancel()

    def _handle_signals(self, supervisor: Supervisor) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.loop.add_signal_handler(number, self._signalled)
        self.loop.add_signal_handler(signal.SIGHUP, supervisor.roll)
        self.loop.add_signal_handler(signal.SIGCHLD, supervisor.reap)

    def _signalled(self) -> None:
        for event in (self._stop, self._hurry, self._kill):
            if not event.is_set():
                event.set()
                return

    def _start(self, index: int, listeners: Sequence[socket.socket]) -> Worker:
        # Whatever has started this process starts the others too: the command, `python -m`, a program of somebody's.
        return Worker(index, listeners, [sys.executable, *sys.orig_argv[1:]], self.loop)
