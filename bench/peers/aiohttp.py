"""aiohttp's server on uvloop, without compression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from bench.chat import converse
from bench.serving import BACKLOG, serve
from bench.work import LARGE, PING_INTERVAL

if TYPE_CHECKING:
    import socket


async def start(work: str, listener: socket.socket) -> Any:
    """Listen."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        heartbeat = PING_INTERVAL if work == "idle" else None
        socket = web.WebSocketResponse(compress=False, heartbeat=heartbeat, max_msg_size=2 * LARGE)
        await socket.prepare(request)
        if work == "large":
            async for message in socket:
                await socket.send_bytes(message.data)
        else:

            async def send(event: bytes) -> None:
                await socket.send_frame(event, WSMsgType.TEXT)

            await converse(work, (message.data async for message in socket), send)
        return socket

    app = web.Application()
    app.router.add_get("/ws/chat", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    return runner


if __name__ == "__main__":
    serve(start)
