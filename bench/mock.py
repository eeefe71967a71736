"""A transport without a kernel, and a connection of our server on it: what our own code costs, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bench import wire
from wsserver.net.admission import Opening
from wsserver.net.connection import Connection

if TYPE_CHECKING:
    from wsserver import Server

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class MockTransport(asyncio.Transport):
    """Takes everything at once; `last` is the last write, `taken` counts bytes."""

    def __init__(self, protocol: asyncio.BaseProtocol | None = None) -> None:
        super().__init__()
        self.last = b""
        self.taken = 0
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.last = bytes(data)
        self.taken += len(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_reading(self) -> bool:
        return True

    def resume_reading(self) -> None:
        """It never stops."""

    def pause_reading(self) -> None:
        raise AssertionError("nothing here is more than a server can take")

    def is_closing(self) -> bool:
        return self._protocol is None

    def abort(self) -> None:
        """End; the protocol hears of it at once."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(None)

    def close(self) -> None:
        self.abort()

    def write_eof(self) -> None:
        self.abort()


def request(path: str = "/ws/chat") -> bytes:
    """A browser's opening handshake."""
    host, port = "127.0.0.1", 8765
    return wire.upgrade_request(host, port, path, _KEY, wire.browser_headers(host, port))


def open_connection(server: Server, path: str = "/ws/chat") -> tuple[Connection, MockTransport]:
    """A connection of this server after its opening handshake."""
    opening = Opening(server, is_local=True)
    transport = MockTransport(opening)
    opening.connection_made(transport)
    opening.data_received(request(path))
    connection = transport.get_protocol()
    assert isinstance(connection, Connection), transport.last
    return connection, transport
