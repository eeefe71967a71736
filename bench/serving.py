"""What a peer that is served from this package has in common with the others."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from bench import loops

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Connections that the kernel keeps until the server takes them.
BACKLOG = 1024


def serve(start: Callable[[str], Awaitable[asyncio.AbstractServer]]) -> None:
    """Start the server of the job named by the first argument, say where it listens, and run until ended."""

    async def main() -> None:
        server = await start(sys.argv[1])
        port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        sys.stdout.write(f"Listening on ws://127.0.0.1:{port}/ws/chat\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    loops.run(main())
