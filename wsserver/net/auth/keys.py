"""The keys of who issues tokens, fetched from `--jwks-url` and kept (RFC 7517)."""

from __future__ import annotations

import asyncio
import logging
import time
from math import inf
from typing import TYPE_CHECKING

from ...errors import HandshakeError
from ...guard import keys, tokens
from ...guard.claims import InvalidToken
from .fetch import CANNOT_SAY, Unavailable

if TYPE_CHECKING:
    from ...guard.claims import Policy
    from ...guard.keys import Key
    from ...guard.tokens import Unverified
    from ...guard.user import User
    from .fetch import Fetcher

logger = logging.getLogger(__name__)

#: Tokens may name keys that do not exist: that makes us ask so often and no more, in seconds.
_REFETCH_INTERVAL = 60.0

#: As long as there are none at all nobody can come in: it is asked more often.
_FIRST_INTERVAL = 5.0

#: When keys that serve well are looked after, in seconds: one that is gone there is to be gone here.
_MAX_AGE = 3600.0


class PublishedKeys:
    """Verifies tokens with keys that are fetched when they are needed. Where they cannot be had the old ones stay."""

    def __init__(self, policy: Policy, fetcher: Fetcher) -> None:
        self._policy = policy
        self._fetcher = fetcher
        self._keys: list[Key] = []
        self._refetch_from = -inf  # of the loop's clock, as the next
        self._old_from = inf
        self._task: asyncio.Task[None] | None = None

    async def user_of(self, token: str) -> User:
        """Whose token it is. Raises `InvalidToken`, and `HandshakeError` 503 as long as there are no keys."""
        unverified = tokens.read(token, self._policy)
        key = await self._key_for(unverified)
        return tokens.verify(unverified, key, self._policy, time.time())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._fetcher.close()

    async def _key_for(self, token: Unverified) -> Key:
        key = keys.choose(self._keys, token.algorithm, token.kid)
        loop = asyncio.get_running_loop()
        if key is None or loop.time() >= self._old_from:
            task = self._fetching(loop)
            if key is None and task is not None:
                # Others wait for the same task: whoever leaves leaves it running.
                await asyncio.wait((task,))
                key = keys.choose(self._keys, token.algorithm, token.kid)
        if key is not None:
            return key
        if not self._keys:
            raise HandshakeError(*CANNOT_SAY, reason="unchecked")
        raise InvalidToken("there is no key for it")

    def _fetching(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
        """The task that fetches the keys, begun now if it may be."""
        if self._task is None and loop.time() >= self._refetch_from:
            self._refetch_from = loop.time() + (_REFETCH_INTERVAL if self._keys else _FIRST_INTERVAL)
            self._task = loop.create_task(self._fetch(loop))
        return self._task

    async def _fetch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._keys = await self._fetcher.fetch(keys.of_jwks)
        except Unavailable as exc:
            logger.debug("the keys stay as they were, %d of them: %s", len(self._keys), exc)
        else:
            self._refetch_from = loop.time() + _REFETCH_INTERVAL
            self._old_from = loop.time() + _MAX_AGE
        finally:
            self._task = None
