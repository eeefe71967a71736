"""Tokens that only their authorization server can read: it is asked (RFC 7662), and its word is kept for a while."""

from __future__ import annotations

import time
from base64 import b64encode
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from ...errors import HandshakeError
from ...guard.claims import read_object, user_of_introspection
from .fetch import CANNOT_SAY, Unavailable

if TYPE_CHECKING:
    from ...guard.claims import Policy
    from ...guard.user import User
    from .fetch import Fetcher

#: How long an answer is kept, in seconds: a token that was revoked is good for so long.
_MAX_AGE = 30.0

_MAX_ENTRIES = 1024


class Introspection:
    """Asks about tokens, as the client `client_id` where there is one."""

    def __init__(self, policy: Policy, fetcher: Fetcher, client_id: str = "", client_secret: str = "") -> None:
        self._policy = policy
        self._fetcher = fetcher
        self._authorization = _basic(client_id, client_secret) if client_id else ""
        self._kept: dict[bytes, tuple[User, float]] = {}  # by digest of the token; until when, oldest first

    async def user_of(self, token: str) -> User:
        """Whose token it is. Raises `InvalidToken`, and `HandshakeError` 503 where nobody can say."""
        digest = sha256(token.encode()).digest()
        user, until = self._kept.get(digest, (None, -inf))
        if user is not None and time.time() < until:
            return user
        self._kept.pop(digest, None)
        try:
            answer = await self._fetcher.fetch(read_object, {"token": token}, self._authorization)
        except Unavailable as exc:
            raise HandshakeError(*CANNOT_SAY, reason="unchecked") from exc
        now = time.time()
        user = user_of_introspection(answer, self._policy, now)
        # Of tokens that are worth nothing nothing is kept: there are more of them than there is room.
        self._kept[digest] = user, min(now + _MAX_AGE, inf if user.expires is None else user.expires)
        if len(self._kept) > _MAX_ENTRIES:
            del self._kept[next(iter(self._kept))]
        return user

    async def close(self) -> None:
        await self._fetcher.close()


def _basic(client_id: str, client_secret: str) -> str:
    """RFC 6749, section 2.3.1: name and password are form-encoded first."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"
