"""Keeps a conversation connected: replaces a connection that is lost, as long as there is hope."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Literal

from ..errors import WsserverError
from ..wire.close import CloseCode
from .connection import Connection
from .conversation import Conversation
from .errors import ConnectError, ConnectionLost
from .events import Event, decode, seconds
from .retry import LASTING, Backoff, may_return

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Target

logger = logging.getLogger(__name__)

State = Literal["connecting", "connected", "reconnecting", "closed"]


class Keeper:
    """One connection to `target` after the other. `moved` is called whenever something has come or is over.

    `over` is set once there will be no other connection. `max_reconnect_time` is in seconds, 0 for no limit.
    """

    def __init__(
        self,
        target: Target,
        moved: Callable[[], object],
        *,
        reconnect: bool,
        max_reconnect_time: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.state: State = "connecting"
        self.conversation = Conversation(self._send, lasting=reconnect)
        self.over: asyncio.Future[ConnectionLost] = self._loop.create_future()
        self._target = target
        self._moved = moved
        self._reconnect = reconnect
        self._max_reconnect_time = max_reconnect_time or inf
        self._backoff = Backoff()
        self._not_before = -inf  # by the server's word
        self._connection = Connection(target, self)
        self._returning: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Makes the first connection. Raises `ConnectError`."""
        await self._connection.open()

    async def close(self) -> None:
        """Ends the connection in order, within seconds; does nothing where it has ended."""
        self._closing = True
        if self.state == "reconnecting" and self._returning is not None:
            self._returning.cancel()
            await asyncio.wait((self._returning,))
        await self._connection.link.close()
        self._end(ConnectionLost(CloseCode.ABNORMAL, "closed without a connection"))

    def read(self, reading: bool) -> None:
        """Whether to take what the server sends."""
        self._connection.link.read(reading)

    def _send(self, text: str) -> None:
        self._connection.link.send(text)

    # -- called by the connection --------------------------------------------------------------------------------

    def received(self, text: str) -> None:
        event = decode(text)
        self.conversation.receive(event, len(text))
        if self.state != "connected":
            self.state = "connected"
            self._connection.begin(seconds(event.data.get("ping_interval")))
        elif event.name == "drain":
            self._not_before = self._loop.time() + seconds(event.data.get("reconnect_in"))
        self._moved()

    def dropped(self, loss: ConnectionLost) -> None:
        self.conversation.disconnected()
        if self._closing or not self._reconnect or not may_return(code=loss.code):
            self._end(loss)
            return
        if self._connection.age >= LASTING:
            self._backoff.reset()
        self.state = "reconnecting"
        self.conversation.rest.put(Event("reconnecting", {"code": loss.code, "reason": loss.reason}))
        self._returning = self._loop.create_task(self._return(loss))

    def _end(self, loss: ConnectionLost) -> None:
        if not self.over.done():
            self.state = "closed"
            self.over.set_result(loss)
            self.conversation.end(loss, expected=self._closing or loss.code == CloseCode.NORMAL)
            self._moved()

    async def _return(self, loss: ConnectionLost) -> None:
        """Tries until there is a connection again, or none to be hoped for."""
        give_up_at = self._loop.time() + self._max_reconnect_time
        retry_after = 0.0
        while (left := give_up_at - (now := self._loop.time())) > 0:
            delay = max(min(self._backoff.next(), left), retry_after, self._not_before - now)
            if delay > left:
                break
            # Without path and query: they may hold secrets.
            host = self._target.address.host_header
            logger.info("%s is lost (%s): connecting again in %.1f s", host, loss, delay)
            await asyncio.sleep(delay)
            try:
                self._connection = Connection(self._target, self, self.conversation.resume)
                await self._connection.open()
                return
            except WsserverError as exc:
                loss.__cause__ = exc
                if not isinstance(exc, ConnectError) or not may_return(code=exc.code, status=exc.status):
                    break
                retry_after = exc.retry_after
        self._end(loss)
