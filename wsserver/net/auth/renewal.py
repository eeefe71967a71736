"""Fresh tokens on open connections: the client event `auth`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from ...errors import ClientError, HandshakeError
from ...guard.credentials import is_token
from ...wire.close import CloseCode
from ...wire.handshake import Request
from ...wire.protocol import State

if TYPE_CHECKING:
    from ...chat.events import Auth
    from ...config import Config
    from ...guard.expiry import Expiry
    from ...guard.user import User
    from ..connection import Connection
    from ..house import Authenticate

logger = logging.getLogger(__name__)

#: Where it is ours or the issuer's fault that a token is not taken: come again in so many seconds.
_RETRY_AFTER = 5.0


class Renewals:
    """Has tokens verified, in a task for each connection that has sent one; there is none otherwise."""

    def __init__(self, authenticate: Authenticate | None, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self._authenticate = authenticate
        self._config = config
        self._loop = loop
        self._tasks: dict[Connection, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    def begin(self, connection: Connection, event: Auth) -> None:
        """Verifies the token; `ack` or `error` will follow. Raises `ClientError` where that cannot be."""
        if self._authenticate is None:
            raise ClientError("invalid_token", "nobody is asked for a token here", ref=event.id)
        if not is_token(event.token):
            raise ClientError("invalid_token", "the token is malformed", ref=event.id)
        if connection in self._tasks:
            raise ClientError(
                "rate_limited", "one token at a time", retryable=True, ref=event.id, retry_after=_RETRY_AFTER
            )
        task = self._loop.create_task(self._renew(self._authenticate, connection, event))
        self._tasks[connection] = task

    def cancel(self, connection: Connection) -> None:
        """The connection is lost."""
        task = self._tasks.pop(connection, None)
        if task is not None:
            task.cancel()

    async def _renew(self, authenticate: Authenticate, connection: Connection, event: Auth) -> None:
        session = connection.session
        assert session is not None
        try:
            user = await self._verify(authenticate, event)
            if user is None or user.id != session.user or user.has_expired(time.time()):
                raise ClientError("invalid_token", "this is no valid token of this user", ref=event.id)
            answer, data = "ack", {} if event.id is None else {"ref": event.id}
        except ClientError as exc:
            user, answer, data = None, "error", exc.data()
        self._tasks.pop(connection, None)
        # While this waited another connection may have taken the session over: the answer is none of its business.
        if connection.protocol.state is State.OPEN:
            if user is not None:
                connection.expire_in(None if user.expires is None else user.expires - time.time())
            session.tell(answer, data)

    async def _verify(self, authenticate: Authenticate, event: Auth) -> User | None:
        request = Request("GET", self._config.path, "", {"authorization": f"Bearer {event.token}"}, "1.1")
        try:
            async with asyncio.timeout(self._config.open_timeout or None):
                return await authenticate(request)
        except HandshakeError as exc:
            if exc.status < 500:
                raise ClientError("invalid_token", exc.message, ref=event.id) from exc
        except Exception:
            logger.exception("a token could not be verified")
        raise ClientError(
            "invalid_token",
            "the token cannot be checked now",
            retryable=True,
            ref=event.id,
            retry_after=_RETRY_AFTER,
        )


def remind(connection: Connection, expiry: Expiry, now: float) -> None:
    """Tells a client that its token is about to expire, and closes the connection once it has."""
    left = expiry.left(now)
    if left == 0:
        connection.close_now(CloseCode.EXPIRED, "the token has expired: come back with a fresh one")
    elif left is not None and connection.session is not None:
        connection.session.tell("auth_expiring", {"expires_in": round(left, 3)})
