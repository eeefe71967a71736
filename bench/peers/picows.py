"""picows' core API, as someone who cares for speed would use it: no log, small buffers, orjson, a send a token."""

from __future__ import annotations

import asyncio
import logging
import secrets

import orjson
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

from bench.peers import served_here
from bench.serving import BACKLOG, serve
from bench.work import PING_INTERVAL, TOKEN, TOKENS

PEER = served_here("picows", "stream", "idle", "echo")


class Echo(WSListener):
    """Sends back what comes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_memoryview())
        elif kind == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()


class Chat(WSListener):
    """A session of its own and, for each message, a task that answers."""

    __slots__ = ("_seq", "_session", "_task", "_turn")

    def __init__(self) -> None:
        self._session = "s_" + secrets.token_urlsafe(16)
        self._turn = 0
        self._seq = 0
        self._task: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        session = {"event": "session", "data": {"resumed": False}, "session_id": self._session}
        transport.send(WSMsgType.TEXT, orjson.dumps(session))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._task is not None:
            self._task.cancel()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.TEXT:
            if orjson.loads(frame.get_payload_as_memoryview())["content"]:
                self._turn += 1
                self._task = asyncio.create_task(self._answer(transport))
        elif kind == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    async def _answer(self, transport: WSTransport) -> None:
        send, dumps, sleep, text = transport.send, orjson.dumps, asyncio.sleep, WSMsgType.TEXT
        session, turn, seq = self._session, self._turn, self._seq
        for _ in range(TOKENS):
            seq += 1
            event = {
                "event": "token",
                "data": {"value": TOKEN},
                "session_id": session,
                "turn": turn,
                "seq": seq,
            }
            send(text, dumps(event))
            await sleep(0)
        self._seq = seq = seq + 1
        final = {
            "event": "complete",
            "data": {"final": True, "status": "completed"},
            "session_id": session,
            "turn": turn,
            "seq": seq,
        }
        send(text, dumps(final))


async def start(job: str) -> asyncio.AbstractServer:
    """Listen, with what measured best here; a heartbeat is part of the job `idle` only.

    2 KiB is picows' smallest buffer. uvloop's own transports cost as much CPU time as aiofastnet's and a third
    less memory. With an adapter for a logger picows makes no `Logger` for each connection.
    """
    logging.disable()
    listener = Echo if job == "echo" else Chat

    def accept(request: WSUpgradeRequest) -> WSListener:
        return listener()

    return await ws_create_server(
        accept,
        "127.0.0.1",
        0,
        logger_name=logging.LoggerAdapter(logging.getLogger("picows")),
        enable_auto_ping=job == "idle",
        auto_ping_idle_timeout=PING_INTERVAL,
        auto_ping_reply_timeout=PING_INTERVAL,
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
        read_buffer_init_size=2048,
        use_aiofastnet=False,
        backlog=BACKLOG,
    )


if __name__ == "__main__":
    serve(start)
