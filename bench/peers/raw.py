"""The yardsticks: a bare protocol, ready-made frames: what loop and kernel cost alone.

`raw` writes each token by itself. With the argument `batched` it has our flush policy: after an idle moment the first
frame leaves at the end of the same turn of the loop, what follows leaves together, at most once a millisecond.
Where tokens carry their time, that is set in between ready-made bytes; what comes as JSON to be echoed is parsed and
serialised as everywhere; a large message is not unmasked, its answer is ready.
"""

from __future__ import annotations

import asyncio
import random
import sys
from time import monotonic
from typing import TYPE_CHECKING, cast

from bench import wire
from bench.chat import Chat, stamp
from bench.serving import BACKLOG, serve
from bench.work import LARGE_MESSAGE, PACE, PACED_TOKENS, PING_INTERVAL, STAMP_WIDTH, TOKEN, TOKENS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

#: Our default.
_FLUSH_INTERVAL = 0.001


def _event(event: str, data: str, place: str) -> bytes:
    text = f'{{"event":"{event}","data":{data},"session_id":"s_0123456789abcdefghijkl"{place}}}'
    return wire.server_frame(text.encode())


def _token(value: str, seq: int) -> bytes:
    return _event("token", f'{{"value":"{value}"}}', f',"turn":1,"seq":{seq}')


def _final(seq: int) -> bytes:
    return _event("complete", '{"final":true,"status":"completed"}', f',"turn":1,"seq":{seq}')


_SESSION = _event("session", '{"resumed":false}', "")
_ANSWER = [_token(TOKEN, seq) for seq in range(1, TOKENS + 1)]
_FINAL = _final(TOKENS + 1)
_HOLE = "0" * STAMP_WIDTH
_PACED = [tuple(_token(_HOLE, seq).split(_HOLE.encode())) for seq in range(1, PACED_TOKENS + 1)]
_PACED_FINAL = _final(PACED_TOKENS + 1)
_PING = wire.server_frame(b"", wire.PING)
_LARGE = wire.server_frame(LARGE_MESSAGE, wire.BINARY)


class Bare(asyncio.Protocol):
    """The opening handshake, whole masked frames in, frames out. Each turn is a task, each token a write."""

    __slots__ = ("_rest", "_task", "_transport", "_upgraded")

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._upgraded = False
        self._rest = b""
        self._task: asyncio.Task[None] | None = None

    def greeting(self) -> bytes:
        """The frames that follow the opening handshake."""
        return _SESSION

    def write(self, frame: bytes) -> None:
        """Send a frame."""
        self._transport.write(frame)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at = 0
        if not self._upgraded:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._rest = data
                return
            self._transport.write(wire.upgrade_answer(data) + self.greeting())
            self._upgraded, at = True, end + 4
        while (bounds := wire.payload_bounds(data, at)) is not None:
            start, end = bounds
            opcode = data[at] & 0x0F
            if opcode == wire.BINARY:
                self._transport.write(_LARGE)
            else:
                self._frame(opcode, wire.masked(data[start:end], data[start - 4 : start]))
            at = end
        self._rest = data[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == wire.PING:
            self._transport.write(wire.server_frame(payload, wire.PONG))
        elif opcode == wire.CLOSE:
            self._transport.write(wire.server_frame(payload, wire.CLOSE))
            self._transport.close()
        elif opcode != wire.PONG:
            self.message(payload)

    def message(self, payload: bytes) -> None:
        """A message has come: answer it."""
        self._task = asyncio.create_task(self.answer())

    async def answer(self) -> None:
        """All tokens, ready-made."""
        write, sleep = self.write, asyncio.sleep
        for frame in _ANSWER:
            write(frame)
            await sleep(0)
        write(_FINAL)


class Paced(Bare):
    """Tokens at their pace."""

    __slots__ = ()

    async def answer(self) -> None:
        for before, after in _PACED:
            self.write(before + stamp().encode() + after)
            await asyncio.sleep(PACE)
        self.write(_PACED_FINAL)


class Echo(Bare):
    """Parses and serialises."""

    __slots__ = ("_chat",)

    def __init__(self) -> None:
        super().__init__()
        self._chat = Chat("echo")

    def greeting(self) -> bytes:
        return wire.server_frame(self._chat.greeting())

    def message(self, payload: bytes) -> None:
        self._transport.write(wire.server_frame(self._chat.pong(payload)))


class Mirror(Bare):
    """Collects what comes of a large message."""

    __slots__ = ("_missing", "_parts")

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._missing = 0

    def greeting(self) -> bytes:
        return b""

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing <= 0:
            whole = b"".join(self._parts)
            self._parts.clear()
            super().data_received(whole)
            self._missing = wire.missing(self._rest)


class Idle(Bare):
    """Pings once an interval, the first time at a random point of it."""

    __slots__ = ("_timer",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._timer = asyncio.get_running_loop().call_later(PING_INTERVAL * random.random(), self._ping)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._timer.cancel()

    def _ping(self) -> None:
        if self._upgraded:
            self.write(_PING)
        self._timer = asyncio.get_running_loop().call_later(PING_INTERVAL, self._ping)


class Flusher:
    """Lets all that was written in one interval leave together, by one timer for all connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._last = 0.0
        self._marked: list[Batched] = []

    def mark(self, connection: Batched) -> None:
        """Something waits there."""
        if not self._marked:
            if monotonic() - self._last > _FLUSH_INTERVAL:
                self._loop.call_soon(self._flush)
            else:
                self._loop.call_later(_FLUSH_INTERVAL, self._flush)
        self._marked.append(connection)

    def _flush(self) -> None:
        marked, self._marked = self._marked, []
        for connection in marked:
            connection.flush()
        self._last = monotonic()


class Batched(Bare):
    """What is written waits for the flush."""

    __slots__ = ("_flusher", "_waiting")

    def __init__(self, flusher: Flusher) -> None:
        super().__init__()
        self._flusher = flusher
        self._waiting: list[bytes] = []

    def write(self, frame: bytes) -> None:
        if not self._waiting:
            self._flusher.mark(self)
        self._waiting.append(frame)

    def flush(self) -> None:
        """Write what waits, at once."""
        if not self._transport.is_closing():
            self._transport.write(b"".join(self._waiting))
        self._waiting.clear()


class BatchedPaced(Batched, Paced):
    """Tokens at their pace, flushed together."""

    __slots__ = ()


_PROTOCOLS: dict[str, Callable[[], Bare]] = {
    "stream": Bare,
    "paced": Paced,
    "echo": Echo,
    "idle": Idle,
    "large": Mirror,
}
_BATCHED: dict[str, Callable[[Flusher], Bare]] = {"stream": Batched, "paced": BatchedPaced}


async def start(work: str, listener: socket.socket) -> asyncio.AbstractServer:
    """Listen."""
    loop = asyncio.get_running_loop()
    if "batched" in sys.argv:
        flusher, batched = Flusher(loop), _BATCHED[work]
        return await loop.create_server(lambda: batched(flusher), sock=listener, backlog=BACKLOG)
    return await loop.create_server(_PROTOCOLS[work], sock=listener, backlog=BACKLOG)


if __name__ == "__main__":
    serve(start)
