"""Limits of connections per address and per user, over all processes that share a store.

Each process keeps its own count beside it. Where the store is out of reach, that is the one that holds.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ...errors import StoreError
from ...guard.seats import too_many
from ...store.port import Seat

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...config import Config
    from ...guard.seats import Seat as Place
    from ...store.port import Store

logger = logging.getLogger(__name__)

#: Who moves from process to process may find its older connection still counted: it is looked again so often, after
#: so many seconds.
_TRIES = 5
_PAUSE = 0.2


class Seating:
    """`missed` is told where the store is out of reach."""

    def __init__(
        self, store: Store, config: Config, loop: asyncio.AbstractEventLoop, missed: Callable[[StoreError], None]
    ) -> None:
        self._store = store
        self._limits = {"address": config.max_connections_per_ip, "user": config.max_connections_per_user}
        self._loop = loop
        self._missed = missed
        self._standing: set[asyncio.Task[None]] = set()

    async def sit(self, place: Place, *, comes_back: bool) -> None:
        """Takes the shared places of a connection, and gives them back with it. Raises `HandshakeError` 429."""
        named = {"address": place.address, "user": place.user}
        seats = {
            Seat(kind, name): self._limits[kind]
            for kind, name in named.items()
            if name is not None and self._limits[kind]
        }
        if not seats:
            return
        try:
            for _ in range(_TRIES if comes_back else 1):
                full = await self._store.sit(seats)
                if full is None:
                    place.share(lambda: self._stand(list(seats)))
                    return
                if comes_back:
                    await asyncio.sleep(_PAUSE)
        except StoreError as exc:
            self._missed(exc)
            return
        assert full is not None
        raise too_many(full.kind)

    async def stop(self) -> None:
        """Returns once all that was given back is."""
        while self._standing:
            await asyncio.wait(self._standing)

    def _stand(self, seats: list[Seat]) -> None:
        task = self._loop.create_task(self._give_back(seats))
        self._standing.add(task)
        task.add_done_callback(self._standing.discard)

    async def _give_back(self, seats: list[Seat]) -> None:
        try:
            await self._store.stand(seats)
        except StoreError as exc:
            # The store tells by itself, once it is back.
            logger.debug("places could not be given back now: %s", exc)
