"""What has come and was not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from .events import Event

if TYPE_CHECKING:
    from .errors import ChatError

MiB = 2**20

#: Above so many characters that nobody has taken, the server has to wait; or, where it cannot, what is oldest goes.
MAX_UNREAD = 1 * MiB


#: What an event counts for beside its text: the objects it is made of, and those that come from nowhere.
EVENT_OVERHEAD = 256


class Inbox:
    """Events in order; `unread` is the sum of their sizes, in characters. `arrived` is set while there is one."""

    def __init__(self) -> None:
        self.unread = 0
        self.arrived = asyncio.Event()
        self._items: deque[tuple[Event, int]] = deque()
        self._ended = False
        self._error: ChatError | None = None

    def put(self, event: Event, size: int = 0) -> None:
        """Adds an event; after the end there are none."""
        if not self._ended:
            size += EVENT_OVERHEAD
            self._items.append((event, size))
            self.unread += size
            self.arrived.set()

    def end(self, error: ChatError | None = None) -> None:
        """Nothing comes any more, for the reason of `error`, if there is one. Only the first end counts."""
        if not self._ended:
            self._ended, self._error = True, error
            self.arrived.set()

    def take(self) -> Event | None:
        """The next event, behind the last one None; raises the error that ended it."""
        if not self._items:
            if self._error is not None:
                raise self._error
            return None
        event, size = self._items.popleft()
        self.unread -= size
        if not self._items and not self._ended:
            self.arrived.clear()
        return event


class Question(Inbox):
    """A message of ours, and what has come of it. `shown` is the text that its events made, `calls` what it asked."""

    def __init__(self, ref: str) -> None:
        super().__init__()
        self.ref = ref
        self.turn: int | None = None
        self.calls: set[str] = set()
        self._pieces: list[str] = []

    @property
    def shown(self) -> str:
        return "".join(self._pieces)

    def abandon(self) -> None:
        """Nobody wants to know any more."""
        self._items.clear()
        self.unread = 0
        self.end()

    def put(self, event: Event, size: int = 0) -> None:
        super().put(event, size)
        if event.name == "token":
            self._pieces.append(str(event.data.get("value", "")))
        elif event.name == "reset" and event.data.get("channel") != "sources":
            self._pieces.clear()
        elif event.name == "ask":
            self.calls.add(str(event.data.get("call_id")))
        if event.final:
            self.end()


class Rest(Inbox):
    """What belongs to no question. It is bounded: where nobody takes it, the oldest give way to a `gap` that counts."""

    def __init__(self) -> None:
        super().__init__()
        self._dropped = 0

    def put(self, event: Event, size: int = 0) -> None:
        super().put(event, size)
        while self.unread > 2 * MAX_UNREAD and len(self._items) > 1:
            self.unread -= self._items.popleft()[1]
            self._dropped += 1

    def take(self) -> Event | None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return Event("gap", {"dropped": dropped})
        return super().take()
