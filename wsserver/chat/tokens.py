"""Adjacent tokens of one turn, as a log keeps them: compact, but for the newest."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import accumulate, pairwise

#: What a block of a log costs in memory beside its text, roughly: objects, pointers, the list's share.
BLOCK_OVERHEAD = 320


class Run:
    """Adjacent tokens of one turn, the first of them with number `first`.

    `values` are the JSON of the newest of them without quotes, from number `tail` on; what is before is compact: one
    piece of text, and the lengths of its tokens.
    """

    __slots__ = ("_lengths", "_text", "first", "tail", "template", "values")

    def __init__(self, first: int, template: bytes) -> None:
        self.first = first
        self.tail = first
        self.template = template
        self.values: list[bytes] = []
        self._text = b""
        self._lengths: bytes | array[int] = b""

    def __len__(self) -> int:
        return len(self._lengths) + len(self.values)

    @property
    def size(self) -> int:
        """What it takes in memory once it is compact, in bytes."""
        lengths = self._lengths
        return BLOCK_OVERHEAD + len(self._text) + len(lengths) * (1 if isinstance(lengths, bytes) else lengths.itemsize)

    @property
    def written(self) -> int:
        """What its tokens take as they travel, once it is compact, in bytes."""
        return len(self._lengths) * len(self.template) + len(self._text)

    def compact(self) -> None:
        """Puts `values` to the text: as an object each would take ten times its bytes."""
        lengths = self._lengths
        if isinstance(lengths, bytes):
            try:
                self._lengths = lengths + bytes(map(len, self.values))
            except ValueError:  # a token of more than 255 bytes
                lengths = self._lengths = array("I", [*lengths])
        if not isinstance(lengths, bytes):
            lengths.extend(map(len, self.values))
        self._text = b"".join((self._text, *self.values))
        self.tail += len(self.values)
        self.values = []

    def written_after(self, seq: int) -> int:
        """How many bytes the tokens after number `seq` take as they travel."""
        # Cut into its tokens, the log of somebody who comes back would hold up everybody else for 26 ms a MiB.
        compact = self._lengths[max(0, seq + 1 - self.first) :]
        values = self.values[max(0, seq + 1 - self.tail) :]
        return (len(compact) + len(values)) * len(self.template) + sum(compact) + sum(map(len, values))

    def since(self, seq: int) -> list[bytes]:
        """The JSON of the tokens after number `seq`, without quotes."""
        if seq + 1 >= self.tail:
            return self.values[seq + 1 - self.tail :]
        skip = max(0, seq + 1 - self.first)
        ends = accumulate(self._lengths[skip:], initial=sum(self._lengths[:skip]))
        return [*(self._text[start:end] for start, end in pairwise(ends)), *self.values]

    def joined(self, seq: int, room: int) -> tuple[int, bytes]:
        """How many of the tokens after number `seq` take `room` bytes or just more as they travel, and their text.

        It makes no object for each token: as long as this takes, everybody waits.
        """
        self.compact()
        skip = max(0, seq + 1 - self.first)
        start = sum(self._lengths[:skip])
        ends = list(accumulate(self._lengths[skip:]))
        envelope_size = len(self.template)
        last = bisect_left(range(len(ends) - 1), room, key=lambda index: ends[index] + (index + 1) * envelope_size)
        return last + 1, self._text[start : start + ends[last]]
