"""A program outside, and the admin port that it calls."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from wsserver import Config, Server, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "open sesame"


async def generate(turn: Turn) -> AsyncIterator[str]:
    yield "some "
    if turn.content == "wait":
        await asyncio.Event().wait()


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Program:
    """Calls the admin port."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.transport.abort()

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        fields = {"host": f"127.0.0.1:{self.port}", "authorization": f"Bearer {TOKEN}", **headers}
        payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if payload:
            fields["content-length"] = str(len(payload))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        answer = await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode() + payload)
        head, _, rest = answer.partition(b"\r\n\r\n")
        first, *others = head.decode().split("\r\n")
        named = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in others}
        kind = named.get("content-type", "")
        return Reply(int(first.split()[1]), named, json.loads(rest) if kind == "application/json" and rest else rest)


@asynccontextmanager
async def administered(**settings: Any) -> AsyncIterator[tuple[Server, Program]]:
    config = Config(port=0, admin_port=free_port(), admin_token=TOKEN, **settings)
    async with Server(generate, config) as server:
        yield server, Program(config.admin_port)
