"""For programs that are no servers, and have something to say to a session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...chat.events import Custom
from ...config import Config
from ...errors import ConfigError
from .asks import ask
from .cluster import store_of
from .letters import Letter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...store.port import Store


async def push(redis_url: str, session_id: str, event: str, data: Mapping[str, Any] | None = None) -> None:
    """Shows an event of your own in a session of servers that share this Redis, as `Server.push` does.

    Raises `SessionNotFound`, `ValueError` for a name that the protocol uses, `StoreError` where Redis is out of reach,
    and `ConfigError` for an address that is none.
    """
    pushed = Custom(event, data or {})
    if not redis_url:
        raise ConfigError("push takes the address of a Redis, like redis://host:6379/0")
    store = store_of(Config(redis=redis_url))
    assert store is not None, "there is an address"
    try:
        await push_by(store, session_id, pushed)
    finally:
        await store.close()


async def push_by(store: Store, session_id: str, pushed: Custom) -> None:
    """The same by a store, which nobody else reads letters from."""
    await ask(store, _Caller(store), session_id, "push", {"event": pushed.event, "data": pushed.data()})


class _Caller:
    """Asks one thing at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ask(self, process: str, letter: Letter, patience: float) -> Letter | None:
        signed = Letter(letter.kind, {**letter.fields, "from": self._store.process}, letter.body)
        await self._store.post([(process, signed.sealed())])
        try:
            async with asyncio.timeout(patience):
                while True:
                    for sealed in await self._store.receive():
                        answer = Letter.opened(sealed)
                        if answer.fields.get("request") == letter.fields["request"]:
                            return answer
        except TimeoutError:
            return None
