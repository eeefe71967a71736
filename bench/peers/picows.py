"""picows' core API, as someone who cares for speed would use it: no log, small buffers, orjson, a send a token."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from bench.chat import Chat
from bench.serving import BACKLOG, serve
from bench.work import LARGE, PING_INTERVAL

if TYPE_CHECKING:
    import socket


class Talk(WSListener):
    """A session of its own and, for each message, a task that answers."""

    __slots__ = ("_chat", "_echo", "_task")

    def __init__(self, work: str) -> None:
        self._chat = Chat(work)
        self._echo = work == "echo"
        self._task: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, self._chat.greeting())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._task is not None:
            self._task.cancel()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.TEXT:
            if self._echo:
                transport.send(WSMsgType.TEXT, self._chat.pong(frame.get_payload_as_memoryview()))
            else:
                self._task = asyncio.create_task(self._answer(transport, frame.get_payload_as_bytes()))
        elif kind == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    async def _answer(self, transport: WSTransport, message: bytes) -> None:
        chat = self._chat
        send, sleep, text, pause = transport.send, asyncio.sleep, WSMsgType.TEXT, chat.pause
        for token in chat.answer(message):
            send(text, token)
            await sleep(pause)
        send(text, chat.final())


class Mirror(WSListener):
    """Sends back what comes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.BINARY:
            transport.send(WSMsgType.BINARY, frame.get_payload_as_memoryview())
        elif kind == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()


async def start(work: str, listener: socket.socket) -> Any:
    """Listen, with what measured best here; a heartbeat is part of the work `idle` only.

    2 KiB is picows' smallest buffer; large messages get one into which they fit. uvloop's own transports cost as much
    CPU time as aiofastnet's and a third less memory. With an adapter for a logger picows makes no `Logger` for each
    connection.
    """
    logging.disable()
    large = work == "large"

    def accept(request: WSUpgradeRequest) -> WSListener:
        return Mirror() if large else Talk(work)

    return await ws_create_server(
        accept,
        sock=listener,
        logger_name=logging.LoggerAdapter(logging.getLogger("picows")),
        enable_auto_ping=work == "idle",
        auto_ping_idle_timeout=PING_INTERVAL,
        auto_ping_reply_timeout=PING_INTERVAL,
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
        read_buffer_init_size=2 * LARGE if large else 2048,
        max_frame_size=2 * LARGE,
        use_aiofastnet=False,
        backlog=BACKLOG,
    )


if __name__ == "__main__":
    serve(start)
