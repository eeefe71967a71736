"""A peer made by hand: a socket, masked frames, and nothing that would correct what a test says."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from wsserver.wire.frames import BINARY, CLOSE, PING, PONG, TEXT, unmask

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

__all__ = ["BINARY", "CLOSE", "PING", "PONG", "TEXT", "Peer", "Refused", "masked", "request", "status"]

Event = dict[str, Any]


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, head: str, body: str) -> None:
        super().__init__(head)
        self.status = int(head.split()[1])
        self.head = head
        self.body = body


def masked(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    """A client's frame; `first` holds FIN and the reserved bits."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 2**16:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    mask = os.urandom(4)
    return bytes([first | opcode]) + size + mask + unmask(payload, mask)


def request(path: str = "/ws/chat", *headers: str) -> bytes:
    """An opening handshake; further headers as `Name: value`."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Peer:
    """An open connection. `events` that arrive are dicts; the first one, `session`, is taken at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str = "") -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self.session: Event = {}

    @classmethod
    @asynccontextmanager
    async def socket(cls, url: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Only the connection, TCP or UNIX; with TLS where a context is given."""
        parts = urlsplit(url)
        if parts.scheme == "ws+unix":
            reader, writer = await asyncio.open_unix_connection(parts.path.partition(":")[0])
        else:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, *headers: str, echo: bool = False, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[Self]:
        """An accepted connection; raises `Refused`."""
        parts = urlsplit(url)
        path = parts.path.rpartition(":")[2]
        path = "/echo" if echo else f"{path}?{parts.query}" if parts.query else path
        async with cls.socket(url, tls=tls) as peer:
            await peer.write(request(path, *headers))
            peer.head = await peer.read_head()
            if not echo:
                peer.session = await peer.event("session")
            yield peer

    def resume(self, last_seq: int, *, epoch: int = 1) -> str:
        """The query that comes back to this peer's session."""
        return f"?resume={self.session['data']['resume_token']}&last_seq={last_seq}&epoch={epoch}"

    def reset(self) -> None:
        """Is gone without a word."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def read_head(self) -> str:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        if not head.startswith("HTTP/1.1 101"):
            raise Refused(head, (await self.reader.read()).decode())
        return head

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send(self, event: Event) -> None:
        await self.write(masked(TEXT, json.dumps(event, ensure_ascii=False).encode()))

    async def ask(self, content: Any, **fields: Any) -> None:
        await self.send({"event": "message", "data": {"content": content}, **fields})

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its first byte and its payload."""
        first, second = await self.reader.readexactly(2)
        assert not second & 0x80, "a server never masks"
        length = second
        if length > 125:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        return first, await self.reader.readexactly(length)

    async def event(self, name: str | None = None) -> Event:
        """The next event; pings are passed over. With a name it must have that one."""
        while True:
            first, payload = await self.frame()
            if first != 0x80 | PING:
                break
        assert first == 0x80 | TEXT, (first, payload)
        event: Event = json.loads(payload)
        assert name is None or event["event"] == name, event
        return event

    async def turn(self) -> list[Event]:
        """All events up to the next final one."""
        events = [await self.event()]
        while not events[-1]["data"].get("final"):
            events.append(await self.event())
        return events

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the Close frame, behind whatever comes before it."""
        while True:
            first, payload = await self.frame()
            if first == 0x80 | CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def gone(self) -> bytes:
        """What comes until the server ends the TCP connection."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


def text_of(events: list[Event]) -> str:
    """The answer in these events."""
    return "".join(event["data"]["value"] for event in events if event["event"] == "token")


async def status(url: str, *headers: str) -> int:
    """What a handshake is answered with that does not offer to be told by a close code."""
    try:
        async with Peer.connect(url, *headers):
            return 101
    except Refused as exc:
        return exc.status
