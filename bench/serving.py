"""What a peer that is served from this package has in common with the others."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

from bench import loops

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Connections that the kernel keeps until the server takes them, as many as it allows.
BACKLOG = 4096


def listen() -> socket.socket:
    """A socket that listens on a free port of this machine."""
    return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)


def announce(listener: socket.socket) -> None:
    """Say where the server is found."""
    sys.stdout.write(f"Listening on ws://127.0.0.1:{listener.getsockname()[1]}/ws/chat\n")
    sys.stdout.flush()


def serve(start: Callable[[str, socket.socket], Awaitable[Any]]) -> None:
    """Start the server for the work named by the first argument, say where it listens, and run until ended."""

    async def main() -> None:
        listener = listen()
        server = await start(sys.argv[1], listener)
        announce(listener)
        await asyncio.Event().wait()
        del server  # some of them live only as long as they are held

    loops.run(main())
