"""What went through a connection, and its name in the log."""

from __future__ import annotations


class Traffic:
    """Of one connection: when it was opened, by the loop's clock, and what its client has sent since."""

    __slots__ = ("messages", "opened", "received")

    def __init__(self, now: float) -> None:
        self.opened = now
        self.messages = 0
        self.received = 0  # bytes

    @property
    def id(self) -> str:
        """A short name for the log. It is made up when asked for: ten thousand idle connections hold none."""
        return hex(hash((id(self), self.opened)) & 0xFFFFFFFFFF)[2:]
