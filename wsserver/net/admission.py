"""The opening of a connection: from its first byte to 101 or a refusal."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Protocol, cast

from ..config import ECHO_PATH, NO_LIMIT
from ..errors import HandshakeError
from ..wire import deflate, handshake
from ..wire import protocol as wire
from ..wire.close import CloseCode
from .connection import Connection
from .sockets import LONGEST_CLOSE, Core, end_sending, peer_of

if TYPE_CHECKING:
    from ..wire.handshake import Request, Upgrade
    from .sockets import Handler

logger = logging.getLogger(__name__)


class House(Core, Protocol):
    """What admission needs of the server."""

    @property
    def closing(self) -> bool: ...
    @property
    def conversation(self) -> Handler: ...
    @property
    def echo(self) -> Handler: ...


class Opening(asyncio.Protocol):
    """A socket whose opening handshake is under way. It ends by handing its transport to a `Connection`."""

    __slots__ = ("_ending", "_house", "_reader", "_transport", "due")

    def __init__(self, house: House) -> None:
        self._house = house
        self._reader = handshake.RequestReader()
        self._transport: asyncio.Transport | None = None
        self._ending = False  # refused: waits for the peer to close
        self.due = inf

    # -- called by asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._house.sockets.add(self)
        if self._house.closing:
            # It was accepted before the listener was closed, and comes too late.
            self.close(CloseCode.SERVICE_RESTART)
        self._limit(self._house.config.open_timeout)

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        try:
            request = self._reader.receive_data(data)
            if request is not None:
                self._admit(request)
        except HandshakeError as exc:
            self._refuse(exc)
        except Exception:
            logger.exception("a handshake could not be handled")
            self._refuse(HandshakeError(500, "internal error"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._leave()

    # -- called by the sweeper and the server --------------------------------------------------------------------

    def visit(self, now: float) -> float:
        if self._ending:
            self.close(CloseCode.ABNORMAL)
        else:
            self._refuse(HandshakeError(408, "the opening handshake took too long"))
        return inf

    def close(self, code: int, reason: str = "") -> None:
        """Nothing was promised to this peer yet."""
        if self._transport is not None:
            self._transport.abort()

    # -- decisions -----------------------------------------------------------------------------------------------

    def _admit(self, request: Request) -> None:
        config = self._house.config
        if request.path == config.path:
            handler = self._house.conversation
        elif config.echo and request.path == ECHO_PATH:
            handler = self._house.echo
        else:
            raise HandshakeError(404, "nothing is served at this path")
        self._open(handler, handshake.parse_upgrade(request))

    def _open(self, handler: Handler, upgrade: Upgrade) -> None:
        config, transport = self._house.config, self._transport
        assert transport is not None
        parameters = deflate.negotiate(upgrade.extensions, config.compression_context) if config.compression else None
        protocol = wire.Protocol(
            config.max_message_size or NO_LIMIT,
            opening=handshake.accept(upgrade, parameters.header() if parameters else None),
            deflate=parameters,
            lanes=config.framing == "lanes",
        )
        connection = Connection(self._house, handler, transport, protocol)
        self._leave()
        transport.set_protocol(connection)
        handler.opened(connection)
        logger.debug("%r opened from %s", connection, peer_of(transport))
        connection.pump.run()
        if self._reader.trailing_data:
            connection.data_received(self._reader.trailing_data)

    def _refuse(self, error: HandshakeError) -> None:
        transport = self._transport
        if transport is None:
            return
        self._ending = True
        logger.debug("a handshake from %s was refused: %d %s", peer_of(transport), error.status, error.message)
        transport.write(handshake.refuse(error))
        end_sending(transport)
        self._limit(self._house.config.close_timeout or LONGEST_CLOSE)

    def _limit(self, timeout: float) -> None:
        self._house.sweeper.schedule(self, self._house.loop.time() + timeout if timeout else inf)

    def _leave(self) -> None:
        self._house.sockets.remove(self)
        self._house.sweeper.cancel(self)
