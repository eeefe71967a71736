"""`websockets` on uvloop, its asyncio API, without compression; with the argument `pure` without its C extension."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if "pure" in sys.argv:
    # Its import fails, as where it was never built.
    sys.modules["websockets.speedups"] = None  # type: ignore[assignment]

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from bench.chat import converse
from bench.serving import BACKLOG, serve
from bench.work import LARGE, PING_INTERVAL

if TYPE_CHECKING:
    import socket


async def start(work: str, listener: socket.socket) -> Any:
    """Listen."""

    async def talk(connection: ServerConnection) -> None:
        async def send(event: bytes) -> None:
            await connection.send(event, text=True)

        await converse(work, connection, send)  # type: ignore[arg-type]

    async def mirror(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    return await serve_websockets(
        mirror if work == "large" else talk,
        sock=listener,
        compression=None,
        max_size=2 * LARGE,
        ping_interval=PING_INTERVAL if work == "idle" else None,
        backlog=BACKLOG,
    )


if __name__ == "__main__":
    serve(start)
