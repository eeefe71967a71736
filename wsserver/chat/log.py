"""The bounded log of a session, and cursors into it.

Every logged event has a `seq`: 1, 2, 3 … without gaps. The log is a list of blocks: a `Run` of adjacent tokens of one
turn, or one other event as its JSON. A token is kept as the JSON of its text only, and gets its envelope when it is
read; a run that has ended is sealed into one piece of text with the ends of its tokens. So a finished turn of 256
short tokens costs some 3 KiB and not the 50 KiB of its frames.
"""

from __future__ import annotations

from array import array
from itertools import accumulate, count, islice, pairwise
from typing import TYPE_CHECKING

from . import envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Events are merged only for a reader that is further behind than this, in bytes.
MERGE_ABOVE = 2**16

#: A run is sealed when it has grown to this many bytes, so that old tokens of a long turn can be dropped.
_RUN_SIZE = 2**16

#: What a block costs in memory beside its text, roughly: objects, pointers, the list's share.
BLOCK_OVERHEAD = 320


#: Stands for the blocks of every log that holds none: an idle session pays for no list.
_EMPTY: list[Run | bytes] = []


class Run:
    """Adjacent tokens of one turn, the first of them with number `first`."""

    __slots__ = ("_ends", "_text", "first", "template", "values")

    def __init__(self, first: int, template: bytes) -> None:
        self.first = first
        self.template = template
        self.values: list[bytes] = []  # the JSON of each token, until the run is sealed
        self._text = b""
        self._ends: array[int] | None = None

    def __len__(self) -> int:
        return len(self.values) if self._ends is None else len(self._ends) - 1

    @property
    def size(self) -> int:
        """What it takes in memory once it is sealed, in bytes."""
        return BLOCK_OVERHEAD + len(self._text) + (self._ends.itemsize * len(self._ends) if self._ends else 0)

    def seal(self) -> None:
        self._text = b"".join(self.values)
        self._ends = array("I", accumulate(map(len, self.values), initial=0))
        self.values = []

    def since(self, seq: int) -> list[bytes]:
        """The JSON of the tokens after number `seq`."""
        skip = max(0, seq + 1 - self.first)
        if self._ends is None:
            return self.values[skip:]
        return [self._text[start:end] for start, end in pairwise(self._ends[skip:])]


class Log:
    """The events of one session, from `start` on to `head`, and what is known of who reads them.

    `written` counts the bytes ever published, as they would travel; it is what cursors are measured by. While `written`
    is not above `brake`, the callback need not wait for its reader.
    """

    __slots__ = ("_blocks", "_run", "_seal_at", "_size", "brake", "head", "limit", "start", "written")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.head = 0  # seq of the last event
        self.start = 0  # seq before the first event that is still held
        self.written = 0
        self.brake = 0
        self._size = 0
        self._seal_at = 0
        self._blocks: list[Run | bytes] = _EMPTY
        self._run: Run | None = None

    def append_token(self, template: bytes, value: bytes) -> None:
        """A token as the JSON of its text, in the envelope of its turn."""
        run = self._run
        if run is None or run.template is not template or self.written > self._seal_at:
            run = self._begin_run(template)
        run.values.append(value)
        self.head += 1
        self.written += len(template) + len(value)

    def append(self, payload: bytes) -> None:
        """Any other event as JSON; its `seq` must be `head + 1`."""
        self.seal()
        self._add(payload)
        self._size += _size(payload)
        self.head += 1
        self.written += len(payload)

    def seal(self) -> None:
        """Ends the run that still grows and makes it compact."""
        if self._run is not None:
            self._run.seal()
            self._size += self._run.size
            self._run = None

    def trim(self, seq: int) -> None:
        """Drops the oldest blocks while the log is over its limit, but none with an event after `seq`."""
        blocks = self._blocks
        count = 0
        while self._size > self.limit and blocks[count] is not self._run:
            block = blocks[count]
            last = self.start + _length(block)
            if last > seq:
                break
            self.start = last
            self._size -= _size(block)
            count += 1
        if count:
            del blocks[:count]

    def after(self, seq: int) -> Iterator[Run | bytes]:
        """The blocks that hold the events after `seq`; the first may begin before them."""
        index, first = len(self._blocks), self.head + 1
        while first > seq + 1:
            index -= 1
            first -= _length(self._blocks[index])
        return islice(self._blocks, index, None)

    @property
    def run(self) -> Run | None:
        """The run that still grows."""
        return self._run

    def _begin_run(self, template: bytes) -> Run:
        self.seal()
        self._seal_at = self.written + _RUN_SIZE
        self._run = Run(self.head + 1, template)
        self._add(self._run)
        return self._run

    def _add(self, block: Run | bytes) -> None:
        if not self._blocks:
            self._blocks = []
        self._blocks.append(block)


def _length(block: Run | bytes) -> int:
    return 1 if isinstance(block, bytes) else len(block)


def _size(block: Run | bytes) -> int:
    return len(block) + BLOCK_OVERHEAD if isinstance(block, bytes) else block.size


class Cursor:
    """A reader's place in a log: the last event it took, and how many bytes had been written up to there."""

    __slots__ = ("log", "position", "seq")

    def __init__(self, log: Log) -> None:
        self.log = log
        self.seq = log.head
        self.position = log.written

    @property
    def behind(self) -> int:
        """Bytes that wait for this reader."""
        return self.log.written - self.position

    def read(self, limit: int) -> list[bytes]:
        """The next events as JSON, about `limit` bytes of them, at least one if there is one."""
        log = self.log
        if self.seq == log.head:
            return []
        run = log.run
        if run is None or self.seq < run.first - 1 or self.behind > limit:
            return self._read_blocks(limit)
        template, seq = run.template, self.seq + 1
        payloads = [template % value for value in zip(run.values[seq - run.first :], count(seq))]
        self.seq = log.head
        self.position = log.written
        return payloads

    def _read_blocks(self, limit: int) -> list[bytes]:
        payloads: list[bytes] = []
        end = self.position + limit
        merge = self.behind > MERGE_ABOVE
        for block in self.log.after(self.seq):
            if isinstance(block, bytes):
                payloads.append(block)
                self.seq += 1
                self.position += len(block)
            else:
                payloads += self._read_run(block, end, merge)
            if self.position >= end:
                break
        return payloads

    def _read_run(self, run: Run, end: int, merge: bool) -> list[bytes]:
        values = []
        first = self.seq + 1
        for value in run.since(self.seq):
            values.append(value)
            self.position += len(run.template) + len(value)
            if self.position >= end:
                break
        self.seq += len(values)
        if merge and len(values) > 1:
            return [envelope.merged_template(run.template) % (envelope.merge_values(values), first, self.seq)]
        return [run.template % value for value in zip(values, count(first))]
