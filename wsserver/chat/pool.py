"""What the sessions of a server may hold in memory, all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import NO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable


class Pool:
    """The memory that all sessions share, in bytes.

    `when_over` is called where `used` grows beyond `limit`: in the midst of a change, so it may do no more than note
    it. It is not called again before `relieved` was.
    """

    __slots__ = ("_over", "_when_over", "limit", "used", "waiting")

    def __init__(self, limit: int = NO_LIMIT, when_over: Callable[[], object] | None = None) -> None:
        self.limit = limit
        self.used = 0
        self.waiting = 0  # of that, messages that wait: unlike the rest they are never dropped
        self._when_over = when_over
        self._over = False

    @property
    def is_full(self) -> bool:
        """Whether nothing more may wait: more is held than may be, or half of it is what waits already."""
        return self.used > self.limit or self.waiting > self.limit // 2

    def add(self, size: int) -> None:
        """So much more is held, or less where it is negative."""
        self.used += size
        if self.used > self.limit and not self._over and self._when_over is not None:
            self._over = True
            self._when_over()

    def relieved(self) -> None:
        """Room has been made, as far as it could be: `when_over` is called again, now where that was too little."""
        self._over = False
        self.add(0)
