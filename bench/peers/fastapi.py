"""FastAPI on uvicorn with uvloop and httptools; the second argument is uvicorn's `--ws`."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from bench import loops
from bench.chat import converse
from bench.serving import BACKLOG, announce, listen
from bench.work import LARGE, PING_INTERVAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def application(work: str, lifespan: Any) -> FastAPI:
    """The application that does this work."""
    app = FastAPI(lifespan=lifespan)

    # FastAPI reads the annotation when the route is made.
    async def handle(websocket: WebSocket) -> None:
        await websocket.accept()
        if work == "large":
            try:
                while True:
                    await websocket.send_bytes(await websocket.receive_bytes())
            except WebSocketDisconnect:
                return

        async def send(event: bytes) -> None:
            await websocket.send_text(event.decode())

        await converse(work, websocket.iter_text(), send)

    app.add_api_websocket_route("/ws/chat", handle)
    return app


def main(work: str, websocket: Any) -> None:
    """Listen and serve until ended."""
    listener = listen()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The kernel already takes connections.
        announce(listener)
        yield

    config = uvicorn.Config(
        application(work, lifespan),
        http="httptools",
        ws=websocket,
        ws_max_size=2 * LARGE,
        ws_ping_interval=PING_INTERVAL if work == "idle" else None,
        ws_per_message_deflate=False,
        log_level="error",
        access_log=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=1,
    )
    loops.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
