"""What the browser's side talks to in its tests: a server that does what is written down, a network that fails."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from websockets.typing import Subprotocol

Event = dict[str, Any]


class Peer:
    """One connection of the scripted server. `offered` are the subprotocols of its client."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        request = connection.request
        assert request is not None
        self.path = request.path
        self.offered = [offered.strip() for offered in request.headers["Sec-WebSocket-Protocol"].split(",")]

    @property
    def resume(self) -> str | None:
        """The claim to a session that its client offered."""
        return next((offered for offered in self.offered if offered.startswith("resume.")), None)

    async def session(self, *, name: str = "s_1", **data: Any) -> None:
        """The first event. As it stands: a new session that can be resumed."""
        defaults = {"resumed": False, "recovered": False, "resumable": True, "epoch": 1, "seq": 0}
        limits = {"resume_token": f"{name}.secret", "resume_ttl": 60, "max_message_size": 65536}
        await self.tell("session", {**defaults, **limits, **data}, session_id=name)

    async def tell(self, event: str, data: Event, **fields: Any) -> None:
        await self._connection.send(json.dumps({"event": event, "data": data, "session_id": "s_1", **fields}))

    async def tokens(self, turn: int, first_seq: int, *values: str) -> None:
        for seq, value in enumerate(values, first_seq):
            await self.tell("token", {"value": value}, turn=turn, seq=seq)

    async def complete(self, turn: int, seq: int, status: str = "completed") -> None:
        await self.tell("complete", {"final": True, "status": status}, turn=turn, seq=seq)

    async def hear(self, name: str) -> Event:
        """The next event of the client, which must be this one."""
        event: Event = json.loads(await self._connection.recv())
        assert event["event"] == name, event
        return event

    async def taken(self, turn: int, seq: int | None = None) -> str:
        """Takes a message: acknowledges it, begins its turn if `seq` says where; returns its id."""
        ref: str = (await self.hear("message"))["id"]
        await self.tell("ack", {"ref": ref, "turn": turn, "queued": 0, "duplicate": False})
        if seq is not None:
            await self.tell("start", {"ref": ref}, turn=turn, seq=seq)
        return ref

    async def close(self, code: int) -> None:
        await self._connection.close(code)

    async def gone(self) -> None:
        """Until the client has closed; nothing more may come of it."""
        try:
            event = await self._connection.recv()
        except ConnectionClosed:
            return
        raise AssertionError(f"not expected any more: {event!r}")

    def cut(self) -> None:
        """As a network does it."""
        self._connection.transport.abort()


#: After this a client does not come back.
NOT_BACK = 4500


@asynccontextmanager
async def scripted(*scripts: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[str]:
    """A server whose first connection follows the first script, and so on, the last one as often as it must.

    Gives its URL. What a script raises is raised at the end, and there must be a connection for each.
    """
    waiting = list(scripts)
    broken: list[BaseException] = []

    async def handle(connection: ServerConnection) -> None:
        try:
            await (waiting.pop(0) if waiting else scripts[-1])(Peer(connection))
        except Exception as exc:
            broken.append(exc)
            await connection.close(NOT_BACK)

    def select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol:
        assert offered[0] == "wsserver.v1"
        return offered[0]

    async with serve(handle, "127.0.0.1", 0, select_subprotocol=select, ping_interval=None, close_timeout=1) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/ws/chat"
    if broken:
        raise broken[0]
    assert not waiting, f"{len(waiting)} connections were expected and did not come"


class Network:
    """Between a client and a server: a TCP proxy on the loopback, on `port`, that can fail."""

    port: int

    def __init__(self, url: str) -> None:
        self.lead_to(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.down = False  # whether nobody can connect

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str) -> AsyncIterator[Network]:
        network = cls(url)
        listener = await asyncio.start_server(network._accept, "127.0.0.1", 0)
        network.port = listener.sockets[0].getsockname()[1]
        try:
            yield network
        finally:
            listener.close()
            network.cut()
            for task in network._tasks:
                task.cancel()
            await asyncio.gather(*network._tasks, return_exceptions=True)
            await listener.wait_closed()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lead_to(self, url: str) -> None:
        """To another server, from the next connection on."""
        self._server_port = urlsplit(url).port

    def cut(self) -> None:
        """Every connection is gone, at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    def fall_silent(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._passing.clear()

    def pass_again(self) -> None:
        self._passing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        there = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers |= {writer, there[1]}
        for source, target in ((reader, there[1]), (there[0], writer)):
            task = asyncio.ensure_future(self._copy(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._passing.wait()
                target.write(data)
                await target.drain()
            target.close()
        except ConnectionError:
            target.transport.abort()
        finally:
            self._writers.discard(target)
