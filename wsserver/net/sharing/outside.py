"""For programs that are no servers, and have something to say to sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from ...chat.events import Custom
from ...config import Config
from ...errors import ConfigError
from .asks import Answers, ask
from .cluster import store_of
from .letters import Letter, Post

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any

    from ...store.port import Count, Store


class Remote:
    """What the methods of these names of `Server` do, for a program beside the servers that share this Redis::

        async with wsserver.Remote("redis://127.0.0.1") as remote:
            await remote.push(session_id, "ticket", {"state": "shipped"})

    Several may be called at a time. Each raises `StoreError` where Redis is out of reach; entering does not. Raises
    `ConfigError` for an address that is none.
    """

    def __init__(self, redis_url: str, *, store: Store | None = None) -> None:
        """`store` instead of the Redis: what is shared by another one. It is closed at the end."""
        if store is None:
            store = store_of(Config(redis=redis_url))
        if store is None:
            raise ConfigError("Remote takes the address of a Redis, like redis://host:6379/0")
        self._store = store
        self._answers = Answers(self._send)

    async def __aenter__(self) -> Self:
        self._post = Post(self._store, asyncio.get_running_loop(), self._answers.came)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._post.stop()
        await self._store.close()

    async def push(self, session_id: str, event: str, data: Mapping[str, Any] | None = None) -> None:
        """Shows an event of your own in a session.

        Raises `SessionNotFound`, `ValueError` for a name that the protocol uses, `TypeError` for what JSON cannot hold.
        """
        pushed = Custom(event, data or {})
        await self._ask(session_id, "push", {"event": pushed.event, "data": pushed.data()})

    async def stop(self, session_id: str, turn: int | None = None) -> None:
        """Ends a turn of a session, or all. Raises `SessionNotFound`, and `ClientError` where nothing runs."""
        await self._ask(session_id, "stop", {"turn": turn})

    async def end(self, session_id: str, reason: str = "ended by the application") -> None:
        """Ends a session. Raises `SessionNotFound`."""
        await self._ask(session_id, "end", {"reason": reason})

    async def count(self) -> Count:
        """What all servers together have, as they last said; they do so every other second."""
        return await self._store.count()

    async def _ask(self, session_id: str, verb: str, data: Mapping[str, Any]) -> None:
        await ask(self._store, self._answers, session_id, verb, data)

    def _send(self, process: str, letter: Letter) -> None:
        self._post.send(process, Letter(letter.kind, {**letter.fields, "from": self._store.process}, letter.body))


async def push(redis_url: str, session_id: str, event: str, data: Mapping[str, Any] | None = None) -> None:
    """`Remote.push` for a program that has but one thing to say."""
    async with Remote(redis_url) as remote:
        await remote.push(session_id, event, data)
