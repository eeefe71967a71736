"""A process that is a server and nothing else: its loop and its signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

from ..config import Config
from .server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from .run import Generate

logger = logging.getLogger(__name__)


def run(generate: Generate, config: Config | None = None) -> None:
    """Serves `generate` until SIGINT or SIGTERM; prints the address on standard output once it can be reached.

    Raises `ConfigError` where the callback or the settings cannot work.
    """
    config = config or Config()
    with asyncio.Runner(loop_factory=loop_factory(config.loop)) as runner:
        runner.run(_serve(Server(generate, config)))


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
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with server:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, stopped.set)
            except NotImplementedError:  # on Windows, where Ctrl-C cancels this coroutine instead
                logger.debug("no handler for %s on this loop", signal.Signals(number).name)
        for url in server.urls:
            sys.stdout.write(f"Listening on {url}\n")
        sys.stdout.flush()
        await stopped.wait()
        logger.info("shutting down")
