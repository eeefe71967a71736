"""Logs that are copied elsewhere: they say when there is something to copy, and how far the copy goes.

The copy lags behind by one flush. A `StrictLog` shows its readers only what has been copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from . import envelope
from .log import Cursor, Log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pool import Pool
    from .tokens import Run

#: A position that every log has passed: the next token of all looks whether somebody is to be told.
_PASSED = -1


class Marked(Protocol):
    """Who copies a log."""

    def mark(self) -> None:
        """There is something to copy."""


class CopiedLog(Log):
    """`durable` is the last event that has been copied. What is appended first after a copy marks `copier`."""

    __slots__ = ("_run_ends_at", "copier", "durable")

    #: Whether readers wait for the copy.
    strict = False

    def __init__(self, limit: int, pool: Pool | None = None) -> None:
        super().__init__(limit, pool)
        self.durable = 0
        self.copier: Marked | None = None
        self._run_ends_at = 0  # what `_compact_at` would be
        self._compact_at = _PASSED

    def begin_behind(self, seq: int) -> None:
        super().begin_behind(seq)
        self.durable = seq

    def append(self, payload: bytes) -> None:
        super().append(payload)
        if self.copier is not None:
            self.copier.mark()

    def pieces(self, seq: int) -> Iterator[tuple[int | None, tuple[bytes, ...]]]:
        """What is behind number `seq`: adjacent tokens and their turn, or one other event.

        The next token that is appended marks again: that costs nothing for all the others.
        """
        self._compact_at = _PASSED
        for block in self.after(seq):
            if isinstance(block, bytes):
                yield None, (block,)
            else:
                yield envelope.turn_of(block.template), tuple(block.since(seq))

    def _run_of(self, template: bytes) -> Run:
        if self.copier is not None:
            self.copier.mark()
        run = self.run
        if run is not None and run.template is template and self.written <= self._run_ends_at:
            self._compact_at = self._run_ends_at
            return run
        run = super()._run_of(template)
        self._run_ends_at = self._compact_at
        return run


class StrictLog(CopiedLog):
    """Nothing is shown that has not been copied."""

    __slots__ = ()

    strict = True

    @property
    def shown(self) -> int:
        return self.durable

    def cursor(self, seq: int | None = None) -> Cursor:
        # Where memory was short, what was not copied may be gone.
        return _StrictCursor(self, max(self.durable, self.start) if seq is None else seq)


class _StrictCursor(Cursor):
    """A reader of a strict log."""

    log: StrictLog

    __slots__ = ()

    def read(self, limit: int) -> list[bytes]:
        durable = self.log.durable
        if self.seq >= durable:
            return []
        if durable == self.log.head:
            return super().read(limit)
        payloads: list[bytes] = []
        end = self.position + limit
        blocks = self.log.after(self.seq)
        while self.position < end and self.seq < durable:
            block = next(blocks)
            if isinstance(block, bytes):
                payloads.append(block)
                self.seq += 1
                self.position += len(block)
            else:
                for value in block.since(self.seq)[: durable - self.seq]:
                    self.seq += 1
                    payloads.append(block.template % (value, self.seq))
                    self.position += len(block.template) + len(value)
                    if self.position >= end:
                        break
        return payloads
