"""Attacks on a server, each a coroutine that goes on until it is told to end, run in a process of its own::

    python -m tests.integration.attacks LINE URL CONNECTIONS

It says `begun` once it is at full strength, ends when its standard input does, and then tells what it saw, as JSON: how
often each answer came. It has a lower priority than the others: attackers are elsewhere, and take no server's CPU.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
import struct
import sys
import zlib
from collections import Counter
from contextlib import asynccontextmanager, suppress
from itertools import count, cycle
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvloop

from tests.peer import BINARY, CLOSE, PING, TEXT, masked, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable

#: No kernel of an attacker's reads on its behalf more than it must.
_SMALL_BUFFER = 4096

#: How long an attacker waits for an answer before it tries something else, in seconds.
_PATIENCE = 2.0

_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


class Front:
    """Where an attack is made. `connections` is the most that it may hold at a time; `seen` is what came of it."""

    def __init__(self, url: str, connections: int) -> None:
        self.port = urlsplit(url).port
        self.connections = connections
        self.seen: Counter[str] = Counter()
        self.over = asyncio.Event()
        self._addresses = count()
        self._dialled = 0
        self._together = False
        self._complete = asyncio.Event()

    def begun(self) -> None:
        """It is at full strength."""
        sys.stdout.write("begun\n")
        sys.stdout.flush()

    def address(self, number: int | None = None) -> str:
        """One of the addresses of the loopback network: a fresh one, or always the same for a number."""
        number = next(self._addresses) if number is None else number
        return f"127.{1 if number is None else 2}.{number // 250 % 250}.{number % 250 + 1}"

    @asynccontextmanager
    async def dial(self, address: str | None = None, *, small: bool = False) -> AsyncIterator[Foe]:
        """A connection from there, or from a fresh address; `small`: its kernel takes little that it does not read."""
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if small:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
            sock.bind((address or self.address(), 0))
            await loop.sock_connect(sock, ("127.0.0.1", self.port))
            self._dialled += 1
            if self._dialled >= self.connections:
                self._complete.set()
            if self._together:
                # All of them begin at the same moment.
                await self._complete.wait()
            yield Foe(sock)

    async def _until_over(self) -> None:
        await self.over.wait()

    async def crowd(self, attack: Callable[[int], Awaitable[None]], *, together: bool = True) -> None:
        """As many as may be do the same over and over again; `together` they begin once all of them are connected."""

        async def again(number: int) -> None:
            while True:
                try:
                    await attack(number)
                except (OSError, EOFError):
                    self.seen["cut"] += 1
                # Somebody who is cut at once must not keep the others from their turn.
                await asyncio.sleep(0)

        self._together = together
        crowd = [asyncio.create_task(again(number)) for number in range(self.connections)]
        await self._complete.wait()
        self.begun()
        over = asyncio.create_task(self._until_over())
        done, _ = await asyncio.wait((over, *crowd), return_when=asyncio.FIRST_COMPLETED)
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
        for task in done:
            task.result()


class Foe:
    """A connected socket of an attacker."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def some(self) -> bytes:
        """What comes next, or what was left; raises `EOFError` at the end."""
        if not self._received:
            data = await self._loop.sock_recv(self.sock, 2**16)
            if not data:
                raise EOFError
            return data
        data = bytes(self._received)
        self._received.clear()
        return data

    async def rest(self) -> bytes:
        """All that comes until the server ends the connection, or says nothing for long."""
        received = bytearray()
        with suppress(EOFError, ConnectionError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while True:
                    received += await self.some()
        return bytes(received)

    async def head(self) -> bytes:
        """The head of the answer to a request."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += await self.some()
        head, _, rest = received.partition(b"\r\n\r\n")
        self._received += rest
        return head

    async def status(self) -> str:
        return (await self.head()).split(b" ", 2)[1].decode()

    async def upgrade(self, *headers: str) -> None:
        """Comes in; raises `EOFError` where it is refused."""
        await self.write(request("/ws/chat", *headers))
        if await self.status() != "101":
            raise EOFError

    async def code(self) -> str:
        """The code of the Close that comes, behind whatever comes before it."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                first, second = await self._take(2)
                length = second
                if length > 125:
                    length = int.from_bytes(await self._take(2 if length == 126 else 8), "big")
                payload = await self._take(length)
                if first == 0x80 | CLOSE:
                    return str(int.from_bytes(payload[:2], "big"))

    async def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            data = await self._loop.sock_recv(self.sock, 2**16)
            if not data:
                raise EOFError
            self._received += data
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken


# -- before the connection is open -----------------------------------------------------------------------------------


async def slow_handshakes(front: Front) -> None:
    """A byte a second of a request, on every socket; who is cut comes again."""
    whole = request("/ws/chat", "X: " + "x" * 10_000)
    loop = asyncio.get_running_loop()
    foes: dict[int, socket.socket] = {}

    async def come(number: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((front.address(number // 100), 0))
        await loop.sock_connect(sock, ("127.0.0.1", front.port))
        foes[number] = sock

    for first in range(0, front.connections, 100):
        await asyncio.gather(*map(come, range(first, min(first + 100, front.connections))))
    front.begun()
    ticks = 50
    for tick in count():
        for number in range(tick % ticks, front.connections, ticks):
            sent = tick // ticks % len(whole)
            answer = _exchange(foes[number], whole[sent : sent + 1])
            if answer is not None:
                front.seen[answer] += 1
                foes[number].close()
                await come(number)
        with suppress(TimeoutError):
            await asyncio.wait_for(front.over.wait(), 1 / ticks)
            break
    for sock in foes.values():
        sock.close()


def _exchange(sock: socket.socket, data: bytes) -> str | None:
    """Sends a little and takes what has come: the status of the answer, "cut" at the end, None if there is nothing."""
    try:
        answer = sock.recv(2**10)
    except BlockingIOError:
        sock.send(data)
        return None
    except OSError:
        answer = b""
    return answer[9:12].decode() or "cut"


def _headers() -> Iterable[bytes]:
    start = b"GET /ws/chat HTTP/1.1\r\nHost: localhost\r\n"
    yield start + b"X: " + b"x" * 100_000
    yield start + b"a:b\r\n" * 20_000
    yield start + b"a:b\r\n" * 3200 + b"\r\n"
    yield start + b"".join(b"%x:%x\r\n" % (n, n) for n in range(1500)) + b"\r\n"
    yield start + b"a:b\r\n" + b" b\r\n" * 4000 + b"\r\n"
    yield start + b"Sec-WebSocket-Protocol: " + b"," * 16_000 + b"\r\n\r\n"
    yield start + b"Sec-WebSocket-Extensions: " + b"permessage-deflate;x," * 700 + b"\r\n\r\n"
    yield b"GET /" + b"%41" * 5400 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield b"GET " + b"/" * 100_000
    yield b"G" * 100_000
    yield b"\r\n" * 50_000


async def header_floods(front: Front) -> None:
    """Headers without an end, in one line and in thousands, whole and in two pieces."""
    floods = cycle([cut for flood in _headers() for cut in ((flood,), (flood[:1], flood[1:]))])

    async def attack(number: int) -> None:
        async with front.dial(front.address(number)) as foe:
            for piece in next(floods):
                await foe.write(piece)
                await asyncio.sleep(0)
            front.seen[await foe.status()] += 1

    await front.crowd(attack)


async def connection_flood(front: Front) -> None:
    """One address: sockets that stay, sockets that come and go as fast as they can, and whole handshakes."""
    address = front.address()

    async def stay(number: int) -> None:
        async with front.dial(address) as foe:
            await foe.some()

    async def come_and_go(number: int) -> None:
        for _ in range(20):
            with socket.socket() as sock:
                sock.setblocking(False)
                sock.bind((address, 0))
                sock.connect_ex(("127.0.0.1", front.port))
            front.seen["came"] += 1
        await asyncio.sleep(0)

    async def shake_hands(number: int) -> None:
        async with front.dial(address) as foe:
            await foe.write(request())
            front.seen[await foe.status()] += 1

    kinds = (stay, stay, stay, shake_hands, come_and_go)
    await front.crowd(lambda number: kinds[number % len(kinds)](number), together=False)


def _client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def endless_tls(front: Front) -> None:
    """Handshakes of TLS that stop: before the first byte, within the ClientHello, behind it, and a byte at a time."""
    hello = _client_hello()

    async def attack(number: int) -> None:
        async with front.dial(front.address(number // 100)) as foe:
            await foe.write((b"", hello[:7], hello[:-1], hello)[number % 4])
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while True:
                        await foe.some()
                        front.seen["answered"] += 1
            if number % 4 == 1:
                for byte in hello[7:]:
                    await foe.write(bytes([byte]))
                    await asyncio.sleep(0.1)
            while True:
                await foe.some()

    await front.crowd(attack, together=False)


_GET = "GET /ws/chat HTTP/1.1"
_UPGRADE = ("Host: localhost", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", _KEY)
_INNER = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _smuggled(*lines: str, first: str = _GET, body: str = "", end: str = "\r\n") -> bytes:
    return (end.join((first, *_UPGRADE, *lines, "", "")) + body).encode("latin-1")


#: Requests that two readers understand in two ways. None of them may come in, and each has one answer at most.
SMUGGLING = (
    _smuggled("Transfer-Encoding: chunked", body="0\r\n\r\n" + _INNER),
    _smuggled("Content-Length: 44", body=_INNER),
    _smuggled("Content-Length: 44", "Content-Length: 0", body=_INNER),
    _smuggled("Content-Length: 0, 44", body=_INNER),
    _smuggled("Content-Length: +0", body=_INNER),
    _smuggled("Content-Length: 0x0", body=_INNER),
    _smuggled("Content-Length: -1", body=_INNER),
    _smuggled("Content-Length: 44", "Transfer-Encoding: chunked", body="0\r\n\r\n" + _INNER),
    _smuggled("Transfer-Encoding: xchunked", body=_INNER),
    _smuggled("Transfer-Encoding: identity", body=_INNER),
    _smuggled("Transfer-Encoding: chunked, chunked", body=_INNER),
    _smuggled("Transfer-Encoding : chunked", body="0\r\n\r\n" + _INNER),
    _smuggled("Transfer-Encoding:\x0bchunked", body="0\r\n\r\n" + _INNER),
    _smuggled("\tTransfer-Encoding: chunked", body="0\r\n\r\n" + _INNER),
    _smuggled("Transfer-Encoding:\r\n chunked", body="0\r\n\r\n" + _INNER),
    _smuggled("X: a\r\n Transfer-Encoding: chunked", body=_INNER),
    _smuggled("X: a\r\n\tb", body=_INNER),
    _smuggled("X: a\nTransfer-Encoding: chunked", body=_INNER),
    _smuggled("X: a\rTransfer-Encoding: chunked", body=_INNER),
    _smuggled("X: a\0b", body=_INNER),
    _smuggled(body=_INNER, end="\n"),
    _smuggled(body=_INNER, end="\r"),
    _smuggled("Host: elsewhere", body=_INNER),
    _smuggled(body=_INNER, first="GET http://elsewhere/ws/chat HTTP/1.1"),
    _smuggled(body=_INNER, first="GET /ws/chat HTTP/1.0"),
    _smuggled(body=_INNER, first="GET /ws/chat HTTP/2.0"),
    _smuggled(body=_INNER, first="GET /ws/chat"),
    _smuggled(body=_INNER, first="GET  /ws/chat HTTP/1.1"),
    _smuggled(body=_INNER, first="GET\t/ws/chat\tHTTP/1.1"),
    _smuggled(body=_INNER, first="GET /ws/chat HTTP/1.1 x"),
    _smuggled(body=_INNER, first="POST /ws/chat HTTP/1.1"),
    _smuggled("Content-Length: 44", body=_INNER, first="POST /ws/chat HTTP/1.1"),
    _smuggled("Content-Length: 44", body=_INNER, first="POST /elsewhere HTTP/1.1"),
    _smuggled("Transfer-Encoding: chunked", body="0\r\n\r\n" + _INNER, first="PUT /elsewhere HTTP/1.1"),
    _smuggled(body=_INNER, first="CONNECT localhost:80 HTTP/1.1"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _INNER.encode(),
    b"\r\n\r\n\r\n" + _INNER.encode(),
)


async def smuggling(front: Front) -> None:
    shapes = cycle(SMUGGLING)

    async def attack(number: int) -> None:
        async with front.dial() as foe:
            await foe.write(next(shapes))
            await _count_answer(front, foe)

    await front.crowd(attack)


async def _count_answer(front: Front, foe: Foe) -> None:
    answer = await foe.rest()
    front.seen[answer[9:12].decode() or "cut"] += 1
    # A browser that is refused by a close code gets HTTP's answer and a Close, and nothing else.
    front.seen["second answers"] += answer.count(b"HTTP/1.1 ") > 1


NONSENSE = (
    *(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n" for target in (
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//ws/chat", "/ws/chat/", "/ws//chat", "/ws/chat%00",
        "/%ff%fe", "/ws/chat;x", "\\ws\\chat", "*", "ws/chat", "http://[::1/", "/%", "/%zz",
        "http://localhost:99999/ws/chat", "/" + "a/" * 4000, "/?" + "a=b&" * 3000, "/" + "%252e" * 1000,
    )),
    *(f"{_GET}\r\nHost: {host}\r\n" + "\r\n".join((*_UPGRADE[1:], "", "")) for host in (
        "", "evil.example", "localhost.evil.example", "localhost@evil.example", "[::1", "[::1]:x", "127.0.0.1:999999",
        "127.1.evil.example", "localhost:80:80", "0x7f000001", "evil.example:8765", "xn--localhost", "lo\u00e7alhost",
        "a" * 8000, "[fe80::1%25lo]", "localhost, evil.example", "..", ":",
    )),
    f"{_GET}\r\n" + "\r\n".join((*_UPGRADE[1:], "", "")),
)  # fmt: skip


async def nonsense(front: Front) -> None:
    """Paths and hosts that are not served."""
    shapes = cycle([shape.encode("latin-1") for shape in NONSENSE])

    async def attack(number: int) -> None:
        async with front.dial() as foe:
            await foe.write(next(shapes))
            await _count_answer(front, foe)

    await front.crowd(attack)


#: What would begin a line of its own in a log, or make a terminal do something.
_FORGED = ("\r\n2026-01-01 00:00:00,000 ERROR forged: x", "\n", "\r", "\x1b[2J", "\x85", "\u2028", "\x7f", "\x08\x08")


async def log_injection(front: Front) -> None:
    """Control characters wherever a log might show something of a client's."""
    encoded = ["".join(f"%{byte:02x}" for byte in text.encode()) for text in _FORGED]
    raw = [text.encode() for text in _FORGED]
    shapes = cycle(
        [
            *(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % text.encode() for text in encoded),
            *(request(f"/ws/chat?resume={text}&last_seq={text}&epoch=1") for text in encoded),
            *(request("/ws/chat", f"Sec-WebSocket-Protocol: wsserver.v1, resume.{text}.1.1") for text in encoded),
            *(b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % text for text in raw),
            *(b"GET /ws/chat HTTP/1.1\r\nHost: %b\r\n\r\n" % text for text in raw),
            *(request()[:-2] + b"X-Forwarded-For: %b\r\n\r\n" % text for text in raw),
            *(request()[:-2] + b"Origin: http://%b\r\n\r\n" % text for text in raw),
            *(request() + masked(TEXT, text) for text in raw),
            *(request() + masked(CLOSE, b"\x0b\xb8" + text) for text in raw),
        ]
    )

    async def attack(number: int) -> None:
        async with front.dial() as foe:
            await foe.write(next(shapes))
            front.seen[await foe.status()] += 1

    await front.crowd(attack)


async def early_data(front: Front) -> None:
    """A mebibyte behind the request, while the application still looks who that is."""
    early = masked(PING, b"x" * 125) * 8000

    async def attack(number: int) -> None:
        async with front.dial(front.address(number // 50)) as foe:
            await foe.write(request("/ws/chat", f"X-Wait: {30 if number % 4 else 0.5}"))
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await foe.write(early)
            front.seen[await foe.status()] += 1

    await front.crowd(attack)


# -- behind the handshake --------------------------------------------------------------------------------------------


async def frames_of_2_to_the_63(front: Front) -> None:
    """Frames that announce so much, and then what they announced."""
    starts = cycle(
        [
            b"\x81\xff" + (2**63 - 1).to_bytes(8, "big"),
            b"\x82\xff" + (2**63 - 1).to_bytes(8, "big"),
            b"\x81\xff" + (2**63).to_bytes(8, "big"),
            b"\x81\xff" + (2**64 - 1).to_bytes(8, "big"),
            b"\x01\x81abcdx\x80\xff" + (2**63 - 2).to_bytes(8, "big"),
            b"\xc1\xff" + (2**63 - 1).to_bytes(8, "big"),
            b"\x89\xff" + (2**63 - 1).to_bytes(8, "big"),
        ]
    )

    async def attack(number: int) -> None:
        async with front.dial() as foe:
            await foe.upgrade()
            await foe.write(next(starts) + b"mask")
            front.seen[await foe.code()] += 1
            for _ in range(16):
                await foe.write(bytes(2**16))

    await front.crowd(attack)


async def fragments(front: Front) -> None:
    """Messages in fragments of one byte, and of none, without an end."""
    first, one, none = masked(TEXT, b"x", first=0), masked(0, b"x", first=0), masked(0, b"", first=0)

    async def attack(number: int) -> None:
        async with front.dial(front.address(number)) as foe:
            await foe.upgrade()
            await foe.write(first)
            piece = (one, none)[number % 2] * 1000
            told = asyncio.ensure_future(foe.code())
            try:
                while not told.done():
                    await foe.write(piece)
                    front.seen["fragments"] += 1000
                front.seen[await told] += 1
            finally:
                told.cancel()

    await front.crowd(attack)


async def ping_floods(front: Front) -> None:
    """Pings without an end, small and large, beside an answer without an end; all is read."""

    async def attack(number: int) -> None:
        async with front.dial(front.address(number)) as foe:
            await foe.upgrade()
            await foe.write(masked(TEXT, b'{"content":"flood"}'))
            pings = masked(PING, b"x" * 125 * (number % 2)) * 1000

            async def read() -> None:
                while True:
                    front.seen["bytes"] += len(await foe.some())

            reading = asyncio.create_task(read())
            try:
                while not reading.done():
                    await foe.write(pings)
                    front.seen["pings"] += 1000
            finally:
                reading.cancel()

    await front.crowd(attack)


async def unread_pongs(front: Front) -> None:
    """Pings without an end, and no pong is ever read."""

    async def attack(number: int) -> None:
        async with front.dial(front.address(number // 50), small=True) as foe:
            await foe.upgrade()
            pings = masked(PING, b"x" * 125) * 1000
            while True:
                await foe.write(pings)
                front.seen["pings"] += 1000

    await front.crowd(attack)


async def compressed_bombs(front: Front) -> None:
    """A thousand times as much as was sent, in one frame and in many; and messages that just pass."""
    bomb = _deflated(bytes(64 * 2**20))
    passing = _deflated(b'{"event":"ping","data":"' + b"x" * 60_000 + b'"}')
    pieces = [bomb[start : start + 100] for start in range(0, len(bomb), 100)]
    fragmented = masked(TEXT, pieces[0], first=0x40) + b"".join(masked(0, piece, first=0) for piece in pieces[1:])
    shapes = cycle([masked(TEXT, bomb, first=0xC0), fragmented, masked(TEXT, passing, first=0xC0) * 200])

    async def attack(number: int) -> None:
        async with front.dial() as foe:
            await foe.upgrade("Sec-WebSocket-Extensions: permessage-deflate")
            await foe.write(next(shapes))
            front.seen[await foe.code()] += 1

    await front.crowd(attack)


def _deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _message(content: bytes) -> bytes:
    return masked(TEXT, b'{"content":%b}' % content)


#: Nested as deep as a message is long, as deep as is read, as is written, and just not as deep; many times, too.
NESTED = (
    masked(TEXT, b"[" * 65_000),
    masked(TEXT, b'{"a":' * 13_000),
    _message(b"[" * 32_000 + b"]" * 32_000),
    _message(b"[" * 1000 + b"]" * 1000),
    _message(b"[" + b",".join([b"[" * 500 + b"]" * 500] * 60) + b"]"),
    _message(b'{"a":' * 250 + b"1" + b"}" * 250),
    _message(b"[" * 150 + b"]" * 150),
    _message(b"[" + b",".join([b"[" * 150 + b"1" + b"]" * 150] * 200) + b"]"),
)

#: Small as JSON, large as objects; long as JSON, and nothing as numbers.
ENORMOUS = (
    _message(b"[" + b"[]," * 20_000 + b"1]"),
    _message(b"[" + b"{}," * 20_000 + b"1]"),
    _message(b"1" * 65_000),
    _message(b"-0." + b"1" * 65_000),
    _message(b"1e" + b"9" * 65_000),
    _message(b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(5000)) + b"}"),
    _message(b'{"' + b"k" * 65_000 + b'":1}'),
    masked(TEXT, b"{" + b'"event":"message",' * 3500 + b'"data":{}}'),
    masked(TEXT, b'{"event":"' + b"e" * 65_000 + b'"}'),
    masked(TEXT, b'{"event":"stop","data":{"turn":' + b"9" * 60_000 + b"}}"),
    masked(TEXT, b'{"event":"ping","id":"' + b"i" * 65_000 + b'"}'),
)


async def _say_all(front: Front, messages: Iterable[bytes]) -> None:
    """All of these on every connection, each once in a while, as fast as they are taken."""
    messages = list(messages)

    async def attack(number: int) -> None:
        async with front.dial() as foe:
            await foe.upgrade()
            told = asyncio.ensure_future(_read_answers(front, foe))
            try:
                for message in (messages[number % len(messages) :] + messages) * 4:
                    await foe.write(message)
                    front.seen["messages"] += 1
                await told
            finally:
                told.cancel()

    await front.crowd(attack)


async def _read_answers(front: Front, foe: Foe) -> None:
    while True:
        data = await foe.some()
        front.seen["refused"] += data.count(b'"code":"bad_message"')
        front.seen["begun"] += data.count(b'"event":"start"')


async def nested_json(front: Front) -> None:
    await _say_all(front, NESTED)


async def enormous_json(front: Front) -> None:
    await _say_all(front, ENORMOUS)


async def invalid_utf8(front: Front) -> None:
    """Text that is none, cut where it becomes so."""
    texts = [b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82"]
    filled = [b"x" * 30_000 + text for text in texts]
    shapes = cycle(
        masked(TEXT, text[:cut], first=0) + masked(0, text[cut:-1], first=0) + masked(0, text[-1:], first=0x80)
        for text in (*texts, *filled)
        for cut in range(1, len(text), len(text) // 7 + 1)
    )

    async def attack(number: int) -> None:
        async with front.dial() as foe:
            await foe.upgrade()
            await foe.write(next(shapes))
            front.seen[await foe.code()] += 1

    await front.crowd(attack)


async def half_open(front: Front) -> None:
    """Asks for an answer without an end, and is never heard of again; nothing is read, no ping is answered."""

    async def attack(number: int) -> None:
        async with front.dial(front.address(number // 50), small=True) as foe:
            await foe.upgrade()
            await foe.write(masked(TEXT, b'{"content":"flood"}') if number % 2 else masked(BINARY, b"x", first=0))
            # Only whether the connection still is: reading would be a sign of life.
            while not _is_cut(foe.sock):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            raise EOFError

    await front.crowd(attack, together=False)


_TCP_ESTABLISHED = 1


def _is_cut(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED


ATTACKS: dict[str, Callable[[Front], Coroutine[None, None, None]]] = {
    attack.__name__: attack
    for attack in (
        slow_handshakes,
        header_floods,
        connection_flood,
        frames_of_2_to_the_63,
        fragments,
        ping_floods,
        unread_pongs,
        compressed_bombs,
        nested_json,
        enormous_json,
        invalid_utf8,
        smuggling,
        early_data,
        half_open,
        endless_tls,
        nonsense,
        log_injection,
    )
}


async def main(line: str, url: str, connections: str) -> None:
    front = Front(url, int(connections))
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, front.over.set)
    await ATTACKS[line](front)
    sys.stdout.write(json.dumps(front.seen) + "\n")


if __name__ == "__main__":
    os.nice(10)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(main(*sys.argv[1:]))
