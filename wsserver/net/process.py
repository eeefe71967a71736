"""A process that is a server and nothing else: its loop and its signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..config import Config, MiB
from . import logs
from .admin.port import Admin
from .admin.requests import Requests
from .drain import drain_beside
from .listeners import inherited
from .output import announce
from .server import Server
from .workers import handover
from .workers.channel import Channel
from .workers.process import supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .house import Authenticate, OnOpen
    from .run import Generate
    from .sessions import OnClose
    from .workers.handover import Place

logger = logging.getLogger(__name__)

#: So many of the largest messages may be free before the allocator gives memory back, up to a bound in bytes.
_KEPT_MESSAGES, _MOST_KEPT = 4, 16 * MiB

#: How long a process may take to end after its server has, where `close_timeout` sets no limit, in seconds.
_LONGEST_EXIT = 60.0


def run(
    generate: Generate,
    config: Config | None = None,
    *,
    on_open: OnOpen | None = None,
    on_close: OnClose | None = None,
    authenticate: Authenticate | None = None,
) -> None:
    """Serves `generate`, as `Server` does, until SIGINT or SIGTERM; prints the address once it can be reached.

    The first signal lets answers finish, `drain_timeout` seconds at most; the second cuts them. Sockets
    that systemd has opened for this process (sd_listen_fds(3)) are served instead of the addresses of `config`. Logs to
    standard error, unless the program has set up logging by itself. Raises `ConfigError` where something
    cannot work.

    With `workers` above 1 this process only keeps them, each being the same command line started anew, up to here; it
    raises `SystemExit` where the first of them does not come to serve.
    """
    config = config or Config()
    place = handover.place()
    if place is None and config.workers > 1:
        supervise(config)
        return
    logs.set_up(config, place.name if place else "")
    server = Server(
        generate,
        config if place is None else _share(config),
        on_open=on_open,
        on_close=on_close,
        authenticate=authenticate,
        sockets=inherited() if place is None else place.listeners,
    )
    _keep_memory_for(config.max_message_size)
    # Callbacks that do not end, and threads that they left behind, would keep the loop from closing for ever.
    watchdog = threading.Timer(config.close_timeout or _LONGEST_EXIT, _leave)
    watchdog.daemon = True
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory(config.loop)) as runner:
        try:
            runner.run(_serve(server) if place is None else _work(server, place))
        finally:
            watchdog.start()
    watchdog.cancel()


def _keep_memory_for(largest: int) -> None:
    """Lets the allocator of this process keep what messages of so many bytes need.

    glibc's gives back what is free beyond twice the largest block that was ever freed: for each large message that
    would be almost all of it, to be fetched again, page by page, for the next one. Other allocators learn nothing by
    this. The block itself is never touched, so it takes no memory.
    """
    bytes(min(_KEPT_MESSAGES * largest, _MOST_KEPT))


def _leave() -> None:
    logger.error("leaving: callbacks, or threads of theirs, do not end")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is wanted and runs, else None for asyncio's own."""
    if loop == "uvloop":
        try:
            import uvloop
        except ImportError:
            logger.info("uvloop does not run here: serving on asyncio's own loop")
        else:
            return uvloop.new_event_loop
    return None


async def _serve(server: Server) -> None:
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        if not first.is_set():
            first.set()
            return
        second.set()
        for number in handled:
            # The third signal ends the process, whatever it does.
            loop.remove_signal_handler(number)

    async with server:
        # Windows has no handlers on a loop: there Ctrl-C cancels this coroutine.
        handled = () if sys.platform == "win32" else (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            loop.add_signal_handler(number, signalled)
        announce(server.urls, server.config, server.admin_token)
        await first.wait()
        _say_what_it_waits_for(server)
        await _unless(second, server.drain())


async def _work(server: Server, place: Place) -> None:
    """The same for a worker: what its supervisor says once may come from others too, so that twice is no hurry."""
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def cut() -> None:
        first.set()
        second.set()

    # Before anybody is served: from then on no signal may cut what runs.
    loop.add_signal_handler(signal.SIGTERM, first.set)
    loop.add_signal_handler(signal.SIGINT, cut)
    # It is the supervisor that a hangup is for, where it goes to all of them.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    channel = Channel(place.channel, loop, orphaned=first.set)
    try:
        async with server:
            channel.serve(Requests(server, Admin(server)), server.adopt)
            await first.wait()
            channel.leaving()
            _say_what_it_waits_for(server)
            await _unless(second, drain_beside(server))
    finally:
        channel.close()


def _share(config: Config) -> Config:
    """What is one worker's: the admin port is the supervisor's, and memory is that of one machine."""
    return replace(config, admin_port=0, max_memory=config.max_memory and max(1, config.max_memory // config.workers))


def _say_what_it_waits_for(server: Server) -> None:
    if server.turns.runs:
        logger.info(
            "shutting down once all answers are complete (%d), within %g s; a second signal, or Ctrl-C, cuts them",
            len(server.turns.runs),
            server.config.drain_timeout,
        )
    else:
        logger.info("shutting down")


async def _unless(hurry: asyncio.Event, end: Coroutine[Any, Any, None]) -> None:
    """Awaits `end`, or until somebody is in a hurry."""
    drained, hurried = asyncio.create_task(end), asyncio.create_task(hurry.wait())
    await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if drained.done():
        await drained
