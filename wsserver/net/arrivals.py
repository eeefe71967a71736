"""Connections that are no transport at once: a preamble comes first, or the handshake of TLS.

A loop that accepts with TLS shows a socket only once its handshake is over, and reads what may be a preamble by itself.
So these sockets are accepted here, counted and given a deadline, and handed to the loop when their client speaks.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Any

from ..guard import preamble
from .sockets import plain_address

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from ..guard.seats import Seat
    from .house import House

logger = logging.getLogger(__name__)

#: How long nobody is accepted where the process has no descriptor left, in seconds.
_RETRY_AFTER = 1.0
_NOBODY = "nobody can be accepted, trying again in %d s: %s"


class Arrivals:
    """Accepts what comes to `listener`, and gives it to the protocol that `opening` makes.

    `tls` are the options that the loop takes for it, none for plain connections.
    """

    def __init__(
        self,
        house: House,
        listener: socket.socket,
        opening: Callable[[Arrival], asyncio.Protocol],
        tls: Mapping[str, Any],
    ) -> None:
        self.house = house
        self.opening = opening
        self.tls = tls
        self._listener = listener
        self._loop = house.loop
        self._retry: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        listener.setblocking(False)
        self._begin()

    def close(self) -> None:
        """Accepts nobody any more, and closes the listening socket. Whom it has accepted stays."""
        if self._retry is not None:
            self._retry.cancel()
        if self._task is None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
        else:
            self._task.add_done_callback(lambda _: self._listener.close())
            self._task.cancel()

    def _begin(self) -> None:
        try:
            self._loop.add_reader(self._listener.fileno(), self._accept)
        except NotImplementedError:
            # The loop of Windows, which loses whom it accepts in the very turn in which it is closed.
            self._task = self._loop.create_task(self._accept_in_turn())

    def _accept(self) -> None:
        """One at a time: a flood must not keep the loop from those who are there."""
        try:
            self.adopt(self._listener.accept()[0])
        except (BlockingIOError, ConnectionAbortedError):
            # Another process that listens here was faster, or the client is gone.
            return
        except OSError as exc:
            logger.error(_NOBODY, _RETRY_AFTER, exc)
            self._loop.remove_reader(self._listener.fileno())
            self._retry = self._loop.call_later(_RETRY_AFTER, self._begin)

    async def _accept_in_turn(self) -> None:
        while True:
            try:
                self.adopt((await self._loop.sock_accept(self._listener))[0])
            except ConnectionAbortedError:
                continue
            except OSError as exc:
                logger.error(_NOBODY, _RETRY_AFTER, exc)
                await asyncio.sleep(_RETRY_AFTER)
                continue
            await asyncio.sleep(0)

    def adopt(self, sock: socket.socket) -> None:
        """Serves a connection that was accepted."""
        sock.setblocking(False)
        try:
            Arrival(self, sock, plain_address(sock.getpeername()))
        except OSError:  # its client is gone already
            sock.close()


class Arrival:
    """One accepted socket, until its protocol takes over by `hand_over`."""

    __slots__ = ("_address", "_arrivals", "_seat", "_socket", "_task", "due")

    def __init__(self, arrivals: Arrivals, sock: socket.socket, peer: str | None) -> None:
        house = arrivals.house
        self.due = inf
        self._arrivals = arrivals
        self._socket: socket.socket | None = sock
        self._address = peer
        self._seat: Seat | None = None
        if not self._may_come(peer):
            house.ledger.cut("preamble" if house.config.proxy_protocol else "sockets")
            sock.close()
            return
        self._task = house.loop.create_task(self._come_in(sock))
        self._task.add_done_callback(self._done)
        house.sockets.add(self)
        if house.config.open_timeout:
            house.sweeper.schedule(self, house.loop.time() + house.config.open_timeout)

    def close(self, code: int, reason: str = "") -> None:
        """Nothing was promised to this peer yet."""
        self._task.cancel()

    def visit(self, now: float) -> float:
        self._task.cancel()
        return inf

    def hand_over(self) -> tuple[Seat, str | None]:
        """The seat of the socket, which is the caller's from now on, and the address of the client."""
        seat, self._seat, self._socket = self._seat, None, None
        assert seat is not None, "it is handed over once"
        return seat, self._address

    def _may_come(self, peer: str | None) -> bool:
        house = self._arrivals.house
        if not house.config.proxy_protocol:
            return self._sit(peer)
        # Only proxies come here; whom they bring is counted once they have said so.
        return house.door.proxies.none or house.door.proxies.trusts(peer)

    def _sit(self, address: str | None) -> bool:
        house = self._arrivals.house
        self._address = address
        self._seat = house.seats.sit(house.door.proxies.socket_key(address), house.loop.time())
        return self._seat is not None

    async def _come_in(self, sock: socket.socket) -> None:
        arrivals = self._arrivals
        house = arrivals.house
        try:
            if not house.config.proxy_protocol or self._sit(await self._client(sock)):
                await house.loop.connect_accepted_socket(lambda: arrivals.opening(self), sock, **arrivals.tls)
            else:
                house.ledger.cut("sockets")
        except (OSError, preamble.PreambleError) as exc:
            if isinstance(exc, preamble.PreambleError):
                house.ledger.cut("preamble")
            logger.debug("a connection from %s came to nothing: %s", house.ledger.name(self._address), exc)

    async def _client(self, sock: socket.socket) -> str | None:
        """The address that the preamble names, else that of the peer."""
        data = b""
        while size := preamble.missing(data):
            received = await self._arrivals.house.loop.sock_recv(sock, size)
            if not received:
                raise preamble.PreambleError("the connection has ended in its preamble")
            data += received
        return preamble.source(data) or self._address

    def _done(self, task: asyncio.Task[None]) -> None:
        house = self._arrivals.house
        house.sweeper.cancel(self)
        house.sockets.remove(self)
        if self._socket is not None:
            # No protocol has taken over. Where the loop has the socket it closes it too, which does no harm.
            self._socket.close()
        if self._seat is not None:
            self._seat.leave()
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a connection could not be taken in", exc_info=exc)
