"""Decisions and bytes, out of the bytes that a fuzzer makes.

Decisions are read from the front, so that a change of one leaves what is behind as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

#: In a stream these two bytes stand for as many as the input says: a fuzzer seldom finds out that size matters.
FILLER = b"@@"


class Source:
    """Reads `data` from the front; behind its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """At most so many bytes."""
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def number(self, most: int) -> int:
        """One from 0 to `most`, which is at most 65535."""
        return int.from_bytes(self.take(1 if most < 256 else 2), "big") % (most + 1)

    def choose(self, options: Sequence[T]) -> T:
        return options[self.number(len(options) - 1)]

    def places(self) -> list[int]:
        """Where to cut a stream, at most three times."""
        return [self.number(0xFFFF) for _ in range(self.number(3))]

    def filled(self, most: int) -> bytes:
        """The rest, with as many bytes as a number says where `FILLER` stands, at most twice; `most` is below 65536."""
        size = self.number(most)
        return self.rest().replace(FILLER, b"a" * size, 2)


def seed(*parts: int | bytes) -> bytes:
    """An input: numbers below 256 take one byte; write others as bytes."""
    return b"".join(part if isinstance(part, bytes) else bytes((part,)) for part in parts)
