"""A server that does what a test writes down: its handshake and frames are the real ones, its words are not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from wsserver.errors import HandshakeError
from wsserver.wire import handshake
from wsserver.wire.frames import TEXT
from wsserver.wire.protocol import Protocol, State

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from wsserver.wire.handshake import Request

LIMIT = 2**20


class Peer:
    """One connection of the scripted server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.protocol = Protocol(LIMIT)
        self.request: Request | None = None
        self._received: list[dict[str, Any]] = []

    async def open(self, **session: Any) -> None:
        """Accepts the handshake and sends `session`."""
        await self.accept()
        await self.tell("session", {"ping_interval": 0, **session})

    async def accept(self) -> None:
        self.request = await self._read_request()
        self.writer.write(handshake.accept(handshake.parse_upgrade(self.request)))

    async def refuse(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        await self._read_request()
        self.writer.write(handshake.refuse(HandshakeError(status, text, headers)))

    async def _read_request(self) -> Request:
        head = await self.reader.readuntil(b"\r\n\r\n")
        request = handshake.RequestReader().receive_data(head)
        assert request is not None
        return request

    async def tell(
        self, event: str, data: dict[str, Any], turn: int | None = None, seq: int | None = None, session_id: str = "s_1"
    ) -> None:
        envelope = {"event": event, "data": data, "session_id": session_id, "turn": turn, "seq": seq}
        await self.send(json.dumps({name: value for name, value in envelope.items() if value is not None}))

    async def send(self, text: str) -> None:
        self.protocol.send(TEXT, text.encode())
        await self.flush()

    async def flush(self) -> None:
        while self.protocol.queued:
            self.writer.write(self.protocol.data_to_send())
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        """The next message of the client."""
        while not self._received:
            data = await self.reader.read(2**16)
            assert data, "the client has hung up"
            self._received += [json.loads(frame.payload) for frame in self.protocol.receive_data(data)]
            await self.flush()
        return self._received.pop(0)

    async def close(self, code: int, reason: str = "") -> None:
        self.protocol.send_close(code, reason)
        await self.flush()
        await self.end()

    async def end(self) -> None:
        """Reads until the closing handshake is over or the client hangs up; then the server hangs up first."""
        while self.protocol.state is not State.CLOSED and (data := await self.reader.read(2**16)):
            for _ in self.protocol.receive_data(data):
                continue
            await self.flush()


Script = Callable[[Peer], Awaitable[None]]


def in_turn(*scripts: Script) -> Script:
    """A script for each connection, in the order they come."""
    left = list(scripts)

    async def script(peer: Peer) -> None:
        assert left, "another connection"
        await left.pop(0)(peer)

    return script


@asynccontextmanager
async def scripted(
    script: Script, context: ssl.SSLContext | None = None, *, uds: str | None = None, port: int = 0
) -> AsyncIterator[str]:
    """Serves `script` to every connection; gives the URL. What a script raises is raised at the end."""
    failures: list[BaseException] = []
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(Peer(reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        except Exception as exc:
            failures.append(exc)
        finally:
            writer.close()
            running.discard(task)

    if uds is not None:
        server = await asyncio.start_unix_server(serve, uds, ssl=context)
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
        port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'wss' if context else 'ws'}://127.0.0.1:{port}/ws/chat"
    finally:
        server.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if failures:
        raise failures[0]
