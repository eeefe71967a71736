"""What a person has said while a message of theirs is stored: it is heard behind it, and counted until then."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...chat.events import ClientEvent
    from ...chat.pool import Pool


class Later:
    """Of one session; `pool` counts it as what waits."""

    __slots__ = ("_events", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._events: deque[tuple[ClientEvent, int]] = deque()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: ClientEvent, size: int) -> None:
        """Something that came in so many bytes."""
        self._events.append((event, size))
        self._hold(size)

    def next(self) -> ClientEvent:
        """What was said first, and is heard now."""
        event, size = self._events.popleft()
        self._hold(-size)
        return event

    def clear(self) -> None:
        """Nobody will hear it here."""
        self._hold(-sum(size for _, size in self._events))
        self._events.clear()

    def _hold(self, size: int) -> None:
        self._pool.waiting += size
        self._pool.add(size)
