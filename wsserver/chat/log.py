"""The bounded log of a session, and cursors into it.

Every logged event has a `seq`: 1, 2, 3 … without gaps. The log is a list of blocks: a `Run` of adjacent tokens of one
turn, or one other event as its JSON. A token is kept as the JSON of its text only, without the quotes, and gets its
envelope when it is read; a run is one piece of text with the lengths of its tokens, but for the newest of them. So a
finished turn of 256 short tokens costs some 2 KiB and not the 50 KiB of its frames.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING

from . import envelope
from .pool import Pool
from .tokens import BLOCK_OVERHEAD, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Tokens are merged only for a reader that is further behind than this, in bytes: twice the default at which a callback
#: waits, so that a reader who keeps up with its callback sees every token by itself.
MERGE_ABOVE = 2**17

#: A run is sealed when it has grown to this many bytes, so that old tokens of a long turn can be dropped.
_RUN_SIZE = 2**16

#: How many bytes of a run that grows stand in tokens of their own, for the reader that keeps up with it.
_COMPACT_SIZE = 2**12

#: Stands for the blocks of every log that holds none: an idle session pays for no list.
_EMPTY: list[Run | bytes] = []


class Log:
    """The events of one session, from `start` on to `head`, and what is known of who reads them.

    `written` counts the bytes ever published, as they would travel; it is what cursors are measured by. While `written`
    is not above `brake`, the callback need not wait for its reader.

    `on_token` is called once, with the next token that does not follow another one of its turn.
    """

    __slots__ = (
        "_blocks",
        "_compact_at",
        "_others",
        "brake",
        "head",
        "limit",
        "on_token",
        "pool",
        "run",
        "size",
        "start",
        "written",
    )

    def __init__(self, limit: int, pool: Pool | None = None) -> None:
        self.limit = limit
        self.pool = pool or Pool()
        self.head = 0  # seq of the last event
        self.start = 0  # seq before the first event that is still held
        self.written = 0
        self.brake = 0
        self.size = 0  # what the finished blocks take in memory, in bytes
        self.on_token: Callable[[], object] | None = None
        self._others = 0  # events that are no tokens
        self._compact_at = 0
        self._blocks: list[Run | bytes] = _EMPTY
        self.run: Run | None = None  # the run that still grows

    @property
    def shown(self) -> int:
        """The last event that may be shown."""
        return self.head

    def cursor(self, seq: int | None = None) -> Cursor:
        """A reader's place behind number `seq`, or behind all that may be shown."""
        return Cursor(self, seq)

    def begin_behind(self, seq: int) -> None:
        """The first event of this log, which is empty, is the one behind number `seq`."""
        self.start = self.head = seq

    @property
    def tokens(self) -> int:
        """How many tokens were ever appended."""
        return self.head - self._others

    def append_token(self, template: bytes, value: bytes) -> None:
        """A token as the JSON of its text without the quotes, in the envelope of its turn."""
        run = self.run
        if run is None or run.template is not template or self.written > self._compact_at:
            run = self._run_of(template)
        run.values.append(value)
        self.head += 1
        self.written += len(template) + len(value)

    def append(self, payload: bytes) -> None:
        """Any other event as JSON; its `seq` must be `head + 1`."""
        self.seal()
        self._add(payload)
        self.head += 1
        self._others += 1
        self.written += len(payload)
        self._grow(_size(payload))

    def seal(self) -> None:
        """Ends the run that still grows and makes it compact."""
        if self.run is not None:
            run, self.run = self.run, None
            run.compact()
            self._grow(run.size)

    def trim(self, seq: int, limit: int | None = None) -> None:
        """Drops the oldest blocks while over the limit, or another one; none that holds an event after `seq`."""
        blocks, size = self._blocks, self.size
        limit = self.limit if limit is None else limit
        count = 0
        # The run that still grows has no size yet: before it is reached nothing is left that could be over the limit.
        while size > limit:
            block = blocks[count]
            last = self.start + _length(block)
            if last > seq:
                break
            self.start = last
            size -= _size(block)
            count += 1
        if count:
            del blocks[:count]
            self._grow(size - self.size)

    def drop(self) -> None:
        """Drops all that can be dropped, read or not; nobody may be reading."""
        self.trim(self.head, 0)

    def after(self, seq: int) -> Iterator[Run | bytes]:
        """The blocks that hold the events after `seq`; the first may begin before them."""
        index, first = len(self._blocks), self.head + 1
        while first > seq + 1:
            index -= 1
            first -= _length(self._blocks[index])
        return islice(self._blocks, index, None)

    def _run_of(self, template: bytes) -> Run:
        """The run that the next token belongs to, compact as far as it goes."""
        self._compact_at = self.written + _COMPACT_SIZE
        run = self.run
        if run is not None and run.template is template:
            run.compact()
            if run.written < _RUN_SIZE:
                return run
        self.seal()
        if self.on_token is not None:
            on_token, self.on_token = self.on_token, None
            on_token()
        self.run = Run(self.head + 1, template)
        self._add(self.run)
        return self.run

    def _grow(self, size: int) -> None:
        self.size += size
        self.pool.add(size)

    def _add(self, block: Run | bytes) -> None:
        if not self._blocks:
            self._blocks = []
        self._blocks.append(block)


def _length(block: Run | bytes) -> int:
    return 1 if isinstance(block, bytes) else len(block)


def _size(block: Run | bytes) -> int:
    return len(block) + BLOCK_OVERHEAD if isinstance(block, bytes) else block.size


class Cursor:
    """A reader's place in a log: the last event it took, and how many bytes had been written up to there.

    It begins behind number `seq`, which must not be before the log's `start`, or at the end.
    """

    __slots__ = ("log", "position", "seq")

    def __init__(self, log: Log, seq: int | None = None) -> None:
        self.log = log
        self.seq = log.head if seq is None else seq
        self.position = log.written - sum(
            len(block) if isinstance(block, bytes) else block.written_after(self.seq) for block in log.after(self.seq)
        )

    @property
    def behind(self) -> int:
        """Bytes that wait for this reader."""
        return self.log.written - self.position

    def read(self, limit: int) -> list[bytes]:
        """The next events as JSON, about `limit` bytes of them, at least one if there is one."""
        log = self.log
        head, run = log.head, log.run
        if self.seq == head:
            return []
        if self.seq == head - 1 and run is not None and run.values:
            # At the pace of a model each token leaves before the next one comes.
            self.seq = head
            self.position = log.written
            return [run.template % (run.values[-1], head)]
        seq = self.seq + 1
        if run is None or seq < run.first or log.written - self.position > limit:
            return self._read_blocks(limit)
        template = run.template
        payloads = [template % value for value in zip(run.since(self.seq), count(seq))]
        self.seq = head
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
        first = self.seq + 1
        if merge:
            taken, text = run.joined(self.seq, end - self.position)
            self.seq += taken
            self.position += taken * len(run.template) + len(text)
            if taken > 1:
                return [envelope.merged_template(run.template) % (text, first, self.seq)]
            return [run.template % (text, first)]
        values = []
        for value in run.since(self.seq):
            values.append(value)
            self.position += len(run.template) + len(value)
            if self.position >= end:
                break
        self.seq += len(values)
        return [run.template % value for value in zip(values, count(first))]
