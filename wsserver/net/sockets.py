"""What the sockets of a server share: who knows them, what they carry, and how they end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from ..guard.address import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config import Config
    from ..guard.expiry import Expiry
    from .connection import Connection
    from .flusher import Flusher
    from .ledger import Ledger
    from .sweeper import Sweeper
    from .turnstile import Turnstile

#: What closing may take where `close_timeout` sets no limit, in seconds: a dead peer must not stay for ever.
LONGEST_CLOSE = 60.0

#: What clients are told at the end of the server.
GOING_AWAY = "the server is shutting down"


class Handler(Protocol):
    """What a connection carries: the conversation, or the raw echo."""

    def handle(self, connection: Connection, opcode: int, payload: bytes, now: float) -> None:
        """A message has come; its bytes were told to `received` before."""

    def received(self, connection: Connection, size: int, now: float) -> float:
        """So many bytes have come: the seconds for which no more should be read."""

    def lost(self, connection: Connection) -> None:
        """The connection is gone; called exactly once."""


class Member(Protocol):
    """An open socket, during its handshake or after it."""

    def close(self, code: int, reason: str = "") -> None:
        """Ends it in order, by a deadline."""


class Sockets:
    """All open sockets of a server, during their handshake and after it."""

    def __init__(self) -> None:
        self.closing = False  # the server has ended all of them: what comes now is too late
        self._members: set[Member] = set()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members))

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Member) -> None:
        self._members.add(member)
        self._emptied.clear()

    def remove(self, member: Member) -> None:
        self._members.remove(member)
        if not self._members:
            self._emptied.set()

    async def emptied(self) -> None:
        """Returns once there is none left."""
        await self._emptied.wait()


class Core(Protocol):
    """What all sockets of a server need of it."""

    @property
    def config(self) -> Config: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def sweeper(self) -> Sweeper: ...
    @property
    def flusher(self) -> Flusher: ...
    @property
    def turnstile(self) -> Turnstile: ...
    @property
    def sockets(self) -> Sockets: ...
    @property
    def expiries(self) -> dict[Connection, Expiry]:
        """Of those connections whose user is known for a time only."""
        ...

    @property
    def traceparents(self) -> dict[Connection, str]:
        """Of those connections whose handshake brought one."""
        ...

    @property
    def ledger(self) -> Ledger: ...


def end_sending(transport: asyncio.Transport) -> None:
    """Ends our side, and leaves the peer's open for a while where the transport can.

    With bytes of the peer's unread a plain close is a reset, which may overtake the last thing we said.
    """
    if transport.is_closing():
        return
    try:
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()
    except OSError:  # the peer has reset the connection, and the transport does not know it yet
        transport.abort()


def address_of(transport: asyncio.Transport) -> str | None:
    """The IP address of the peer, None where it has none: on a UNIX socket."""
    return plain_address(transport.get_extra_info("peername"))


def plain_address(peer: Any) -> str | None:
    """The IP address in the address of a socket, None where it has none."""
    return plain(peer[0]) if isinstance(peer, tuple) else None
