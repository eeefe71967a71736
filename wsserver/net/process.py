"""A process that is a server and nothing else: its loop and its signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from ..config import Config, MiB
from .listeners import inherited
from .server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from .house import Authenticate, OnOpen
    from .run import Generate
    from .sessions import OnClose

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
    """
    config = config or Config()
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # At INFO it names each address that it asks, with its query.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    server = Server(
        generate, config, on_open=on_open, on_close=on_close, authenticate=authenticate, sockets=inherited()
    )
    _keep_memory_for(config.max_message_size)
    # Callbacks that do not end, and threads that they left behind, would keep the loop from closing for ever.
    watchdog = threading.Timer(config.close_timeout or _LONGEST_EXIT, _leave)
    watchdog.daemon = True
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory(config.loop)) as runner:
        try:
            runner.run(_serve(server))
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
        for url in server.urls:
            sys.stdout.write(f"Listening on {url}\n")
        if server.config.admin_port:
            sys.stdout.write(f"Admin on http://{server.config.admin_host}:{server.config.admin_port}/sessions\n")
            if not server.config.admin_token:
                sys.stdout.write(f"Admin token {server.admin_token}\n")
        sys.stdout.flush()
        await first.wait()
        if server.turns.runs:
            logger.info(
                "shutting down once all answers are complete (%d), within %g s; a second signal, or Ctrl-C, cuts them",
                len(server.turns.runs),
                server.config.drain_timeout,
            )
        else:
            logger.info("shutting down")
        drained, hurried = loop.create_task(server.drain()), loop.create_task(second.wait())
        await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if drained.done():
            await drained
