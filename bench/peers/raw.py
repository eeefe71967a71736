"""The yardstick: a bare protocol that writes ready-made frames, one write a token: what loop and kernel cost alone."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

from bench import wire
from bench.peers import served_here
from bench.serving import BACKLOG, serve
from bench.work import TOKEN, TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = served_here("raw", "stream", "idle", "echo")


def _event(event: str, data: str, place: str) -> bytes:
    text = f'{{"event":"{event}","data":{data},"session_id":"s_0123456789abcdefghijkl"{place}}}'
    return wire.server_frame(text.encode())


_SESSION = _event("session", '{"resumed":false}', "")
_ANSWER = [_event("token", f'{{"value":"{TOKEN}"}}', f',"turn":1,"seq":{n}') for n in range(1, TOKENS + 1)]
_COMPLETE = _event("complete", '{"final":true,"status":"completed"}', f',"turn":1,"seq":{TOKENS + 1}')
_PING = wire.server_frame(b"raw", wire.PING)


class Bare(asyncio.Protocol):
    """The opening handshake, whole masked frames in, frames out. Each turn is a task, each token a write."""

    __slots__ = ("_echo", "_greeting", "_rest", "_task", "_transport", "_upgraded")

    _transport: asyncio.Transport

    def __init__(self, greeting: bytes, echo: bool) -> None:
        self._greeting = greeting
        self._echo = echo
        self._upgraded = False
        self._rest = b""
        self._task: asyncio.Task[None] | None = None

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
            self._transport.write(wire.upgrade_answer(data) + self._greeting)
            self._upgraded, at = True, end + 4
        while (bounds := wire.payload_bounds(data, at)) is not None:
            start, end = bounds
            self._frame(data[at] & 0x0F, wire.masked(data[start:end], data[start - 4 : start]))
            at = end
        self._rest = data[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == wire.TEXT:
            if self._echo:
                self._transport.write(wire.server_frame(payload))
            else:
                self._task = asyncio.create_task(self._answer())
        elif opcode == wire.PING:
            self._transport.write(wire.server_frame(payload, wire.PONG))
        elif opcode == wire.CLOSE:
            self._transport.write(wire.server_frame(payload, wire.CLOSE))
            self._transport.close()

    async def _answer(self) -> None:
        write, sleep = self._transport.write, asyncio.sleep
        for frame in _ANSWER:
            write(frame)
            await sleep(0)
        write(_COMPLETE)


_PROTOCOLS: dict[str, Callable[[], Bare]] = {
    "stream": partial(Bare, _SESSION, False),
    # The bare server keeps no time: its one ping comes at once.
    "idle": partial(Bare, _SESSION + _PING, False),
    "echo": partial(Bare, b"", True),
}


async def start(job: str) -> asyncio.AbstractServer:
    """Listen."""
    return await asyncio.get_running_loop().create_server(_PROTOCOLS[job], "127.0.0.1", 0, backlog=BACKLOG)


if __name__ == "__main__":
    serve(start)
