"""A thousand readers of 1 KB/s: others are served as if they were not there, and memory stays bounded."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.integration.load import bound, p99, serving
from tests.peer import TEXT, masked, request

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timed

READERS = 1000
_RATE = 1000  # bytes a second
_PIECE = 250


class SlowReader(asyncio.Protocol):
    """Asks for a flood and takes so little of it at a time."""

    def __init__(self) -> None:
        self.taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.write(request() + masked(TEXT, b'{"content":"flood"}'))

    def data_received(self, data: bytes) -> None:
        self.taken += len(data)
        self._transport.pause_reading()
        asyncio.get_running_loop().call_later(_PIECE / _RATE, self._go_on)

    def _go_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


async def slow_reader(port: int) -> SlowReader:
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    # The smallest that the kernel gives: it must not read on our behalf.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    _, protocol = await loop.create_connection(SlowReader, sock=sock)
    return protocol


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_a_thousand_slow_readers(tmp_path: Path) -> None:
    async def main() -> None:
        flags = ("--max-connections-per-ip", "2000", "--handshake-rate", "0", "--message-rate", "0")
        async with serving(tmp_path, *flags) as server:
            quiet = await p99(server)
            readers = [await slow_reader(server.port) for _ in range(READERS)]
            try:
                loaded = await p99(server)
                memory = server.memory()
                assert all(reader.taken for reader in readers), "each of them is served"
                assert loaded <= bound(quiet), f"{loaded * 1e3:.1f} ms, in quiet {quiet * 1e3:.1f} ms"
                assert memory <= server.allowed(READERS), f"{memory >> 20} MiB, empty {server.empty >> 20} MiB"
            finally:
                for reader in readers:
                    reader._transport.abort()

    uvloop.run(main())
