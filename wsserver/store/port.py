"""What instances share: a directory of sessions with one writer each, their durable copies, letters, seats.

A store never stands between a token and its reader: the writer of a session publishes into its own memory, and a copy
of that is written here in batches. It is the fence that keeps two writers apart, not the clock: whoever takes a session
raises its fence, and what comes later with the old one is refused.

Calls may be made side by side: what comes together leaves together, in one round trip for each node of a cluster. All
raise `StoreError` where the store is out of reach; then nothing is known of whether it was done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Letters that an inbox holds, about, and that are left for the next writer of a session; of more, the oldest go.
INBOX_SIZE = 10_000
LETTERS_LEFT = 1000


class Piece(NamedTuple):
    """Part of a log: adjacent tokens of one turn, or one other event.

    `turn` is the number of the turn, and `values` the JSON of its tokens without quotes; or `turn` is None, and
    `values` is one event as the JSON that travels. No value has a line break in it, which JSON never needs.
    """

    turn: int | None
    values: tuple[bytes, ...]


class Batch(NamedTuple):
    """What one write appends to a log: events up to and with number `last`, which came together."""

    last: int
    pieces: tuple[Piece, ...]


class Origin(NamedTuple):
    """What does not change while one process writes a session: whose it is, and where its epochs began."""

    user: str | None
    token_digest: bytes
    begins: tuple[int, ...] = (0,)


class Record(NamedTuple):
    """What the directory knows of a session.

    `begins[n]` is the last seq before epoch `n + 1` began: the first is 0, and there are as many as epochs. `writer` is
    the process that writes it, "" where nobody does.
    """

    user: str | None
    token_digest: bytes
    begins: tuple[int, ...]
    writer: str
    fence: int
    start: int  # seq before the first event that the log holds
    head: int  # seq of the last one
    last_turn: int


class Copy(NamedTuple):
    """All of a session, for the process that takes it over.

    `facts` are the fields of `Write.facts` as they were written last, `history` the entries, oldest first. `unfinished`
    are the turns that were accepted, and whose final event is not in the log: number → the message's entry. `letters`
    are those that were left for whoever writes the session next.
    """

    record: Record
    log: tuple[Batch, ...]
    facts: Mapping[str, bytes]
    history: tuple[bytes, ...]
    unfinished: Mapping[int, bytes]
    letters: tuple[bytes, ...]


@dataclass(slots=True)
class Write:
    """What one flush changes of one session, all of it or nothing.

    `before` is the seq behind which `batch` goes; the store's log must end there, unless the log begins `anew`, as
    after an outage that was longer than the writer's log: what was stored of it before is dropped.

    `number` counts the writes of this fence, 1, 2, 3 …: one that is repeated as it was, because nobody knows whether it
    was done, is done once; and one that does not follow the last one tells that the store has lost what was between.
    With `created` all of the session is given, and replaces what is known of it: this is how it begins, with fence 1,
    and how a store is made whole that has lost what it held, or a part of it.
    """

    session_id: str
    fence: int
    number: int
    ttl: float  # seconds until all of it may be forgotten
    created: Origin | None = None
    before: int = 0
    batch: Batch | None = None
    anew: bool = False
    trim: int = 0  # seq up to which the log may forget
    facts: dict[str, bytes] = field(default_factory=dict)  # the application's state, ids taken, … replaced by name
    last_turn: int | None = None
    history: Sequence[bytes] = ()  # appended
    history_length: int | None = None  # how many of the newest entries, these among them, stay; None for all
    accepted: dict[int, bytes] = field(default_factory=dict)  # turns, until they are …
    finished: Sequence[int] = ()
    released: bool = False  # this process writes it no more; whoever wants it may take it
    ended: bool = False  # nothing of it is kept


class Outcome(Enum):
    """What became of a write."""

    DONE = "done"
    FENCED = "fenced"  # somebody else has taken the session, or it has ended
    GAP = "gap"  # the log does not end at `before`, or a write is missing: nothing was changed, and all of it is wanted
    LOST = "lost"  # the store does not know it, or only by an older fence: the same


class Seat(NamedTuple):
    """What is counted over all instances: connections of one `kind`, "user" or "address", and `name`."""

    kind: str
    name: str


class Count(NamedTuple):
    """What servers have at the moment, all together."""

    instances: int = 0  # servers that live
    connections: int = 0  # that were let in, and are not gone
    sessions: int = 0  # also those whose client is away
    turns: int = 0  # that run


NOTHING = Count()


def total(counts: Iterable[Count]) -> Count:
    """All of them together."""
    return Count(*map(sum, zip(NOTHING, *counts, strict=True)))


class Store(Protocol):
    """The store, as one process sees it. `process` is that process's name in it, new at every start."""

    @property
    def process(self) -> str: ...

    @property
    def lease(self) -> float:
        """Seconds for which a process is taken to live after it last said so; `renew` belongs well within them."""
        ...

    async def open(self) -> None:
        """Reaches the store, and begins the lease of this process. Raises `StoreError`, whose text says what to do."""

    async def close(self) -> None:
        """Ends the lease, and gives back its seats and its inbox."""

    async def renew(self, own: Count = NOTHING) -> None:
        """The lease of this process, its inbox and its seats live on for another `lease` seconds.

        `own` is what it adds to what `count` tells, until it says so again.
        Where they have ended, they begin again, with the seats as they are now; letters are lost.
        """

    async def is_alive(self, process: str) -> bool:
        """Whether that process has renewed its lease in time."""
        ...

    async def count(self) -> Count:
        """What the processes that live have said of themselves; one that never opened its store is none of them."""
        ...

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def find(self, session_id: str) -> Record | None:
        """What is known of a session, None where it is unknown, ended or forgotten."""
        ...

    async def take(self, session_id: str, fence: int, *, lost: bool) -> Copy | None:
        """Makes this process the writer, if the fence still is `fence`: it is raised by one.

        With `lost` a new epoch begins at the log's head: the end of the log may be missing. None where somebody else
        was faster, or the session is gone. The letters are kept until the first write under the new fence.
        """
        ...

    def lane(self, session_id: str) -> str:
        """By which way the writes of a session go now. Those of one lane fail together; others know nothing of it."""
        ...

    async def write(self, writes: Iterable[Write]) -> list[Outcome]:
        """One flush, of many sessions. The outcomes are in the order of the writes.

        Another flush may follow while this one is under way, but not of the same sessions.
        """
        ...

    async def read(self, session_id: str, after: int, count: int) -> list[Batch]:
        """At most `count` batches of the log that hold events after that seq, oldest first.

        The first may begin before it; where it does not reach back that far, the log has forgotten what was there. What
        a writer lets the log forget may still be there.
        """
        ...

    # -- letters -----------------------------------------------------------------------------------------------------

    async def post(self, letters: Iterable[tuple[str, bytes]]) -> None:
        """Puts letters into the inboxes of processes, named before each; what is posted together arrives in order.

        An inbox that is not read drops its oldest letters, and all of them once its process is gone.
        """

    async def receive(self) -> list[bytes]:
        """The next letters to this process, in order; waits until there is one. Cancelling it loses none."""
        ...

    async def leave(self, session_id: str, letter: bytes) -> bool:
        """Leaves a letter for whoever takes the session next; False where it has a writer that lives, or is unknown.

        Where a connection breaks meanwhile, a letter may be left twice.
        """
        ...

    # -- seats -------------------------------------------------------------------------------------------------------

    async def sit(self, seats: Mapping[Seat, int]) -> Seat | None:
        """Takes one place of each, all or none: None, or the first seat of which its limit of places are taken.

        The places of a process that died are free once its lease is over.
        """
        ...

    async def stand(self, seats: Iterable[Seat]) -> None:
        """Gives places back."""
