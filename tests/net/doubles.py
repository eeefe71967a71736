"""A transport that takes what it is given, for tests that read like transcripts of writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _nothing() -> None:
    """Nobody listens."""


class MockTransport(asyncio.Transport):
    """Notes each write. `room` is what the kernel still takes; behind it the transport buffers and pauses its peer."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.room = 2**60
        self.buffered = 0
        self.protocol: asyncio.BaseProtocol | None = None
        self.on_pause: Callable[[], None] = _nothing
        self.on_resume: Callable[[], None] = _nothing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, 0), "the transport is to say at once that it holds something"

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        taken = min(len(data), self.room)
        self.room -= taken
        self.buffered += len(data) - taken
        if self.buffered:
            self.on_pause()

    def drain(self, room: int = 2**60) -> None:
        """The peer has read: everything buffered goes, and `room` more will."""
        self.buffered = 0
        self.room = room
        self.on_resume()

    def is_closing(self) -> bool:
        return False
