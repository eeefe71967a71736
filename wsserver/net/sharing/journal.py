"""What is stored of one session: each write says what has changed since the one before.

Where nobody knows what became of a write, it is made again as it was; what was lost, or has a gap, is written anew. A
turn that is accepted is open until a write has its final event: whoever takes over knows what the person waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ...chat import envelope
from ...store.port import Batch, Origin, Outcome, Piece, Write
from .later import Later
from .unfinished import Unfinished, place

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from ...chat.copied import CopiedLog
    from ...chat.history import Said
    from ...chat.memory import Memory
    from ...chat.session import Session
    from ...chat.turn import Turn

#: So much may wait for events to be stored: histories, each of which may be large.
_MOST_HELD = 4


class Copier(Protocol):
    """Who writes journals."""

    def mark(self, journal: Journal) -> None:
        """It has something to write."""

    def when_settled(self, journal: Journal, outcome: Outcome) -> None:
        """Its session is written by somebody else, or may be."""

    def forget(self, journal: Journal) -> None:
        """It writes nothing more."""


class Journal:
    """Of one session that this process writes, under `fence`. `copied` is the last event of which the store knows.

    `urgent`: somebody waits for what is to be written.
    """

    __slots__ = (
        "_anew",
        "_copier",
        "_gone",
        "_held",
        "_number",
        "_origin",
        "_repeated",
        "_said",
        "_state",
        "_stored",
        "_turns",
        "_write",
        "ended",
        "fence",
        "later",
        "left",
        "log",
        "marked",
        "released",
        "session",
        "storing",
        "ttl",
        "urgent",
        "watcher",
        "written_at",
    )

    def __init__(self, session: Session, log: CopiedLog, copier: Copier, ttl: float, fence: int = 0) -> None:
        self.session = session
        self.log = log
        self.fence = fence or 1
        self.ttl = ttl
        self.marked = self.urgent = False
        self.released = False  # or about to be
        self.ended = False
        self.left = False
        self.later = Later(log.pool)  # what the person said while a message is stored
        self.written_at = 0.0
        self.storing: Callable[[], None] | None = None  # called once the message that was accepted is stored
        self.watcher: Callable[[Write], None] | None = None  # called with each write that is done
        self._copier = copier
        self._number = 0
        self._stored = fence > 0  # the store has known it
        self._anew = not fence  # all of it is to be written, and `created`
        self._write: Write | None = None  # under way, or nobody knows whether it was done
        self._repeated = False
        self._turns = Unfinished()
        self._said: Said | None = None  # the last of the history that is stored
        self._state = b""
        self._held: list[tuple[int, Callable[[], None]]] = []  # what waits for an event to be stored
        self._gone: list[asyncio.Future[None]] = []
        log.copier = self

    def restored(self, unfinished: Mapping[int, bytes]) -> None:
        """All that the session holds now came out of the store, which has these turns as open: they have ended."""
        self._said = self.session.history.last
        self._state = self.session.state.saved
        self._turns.restored(unfinished)

    # -- for those who change the session --------------------------------------------------------------------------

    def mark(self) -> None:
        """There is something to write."""
        if self.log.strict or self.watcher is not None:
            # Somebody is to be shown it.
            self.hurry()
        if not self.marked and not self.left:
            self.marked = True
            self._copier.mark(self)

    def hurry(self) -> None:
        """There is, and somebody waits for it."""
        if not self.urgent and not self.left:
            self.urgent = True
            self.marked = True
            self._copier.mark(self)

    def accept(self, turn: Turn, then: Callable[[], None]) -> None:
        """The message of this turn was taken; `then` is called once that is stored."""
        self._turns.accept(turn, self._write)
        self.storing = then
        self.hurry()

    def go_on(self) -> None:
        """What waited for the message to be stored waits no longer."""
        if self.storing is not None:
            then, self.storing = self.storing, None
            then()

    @property
    def holds_much(self) -> bool:
        """Whether no more should wait to be stored."""
        return len(self._held) >= _MOST_HELD

    def when_stored(self, seq: int, then: Callable[[], None]) -> None:
        """Calls it once the store has the event of this number; now, if it has."""
        if self.log.durable >= seq:
            then()
        else:
            self._held.append((seq, then))

    async def gone(self, future: asyncio.Future[None]) -> None:
        """Returns once this process is no longer its writer."""
        if not self.left:
            self._gone.append(future)
            await future

    def release(self) -> None:
        """Once all is stored, whoever wants it may have it."""
        self.released = True
        self.hurry()

    def leave(self) -> None:
        """This process is no longer its writer."""
        self.released = self.left = True
        self._copier.forget(self)
        self.log.copier = None
        self.storing = self.watcher = self._write = None
        self._held.clear()
        self.later.clear()
        for future in self._gone:
            if not future.done():
                future.set_result(None)
        self._gone.clear()

    def end(self, *, out_of_reach: bool) -> None:
        """The session has ended, and nothing of it is to be kept."""
        self.ended = True
        self.later.clear()
        # While nobody can be told there may be ever more of these.
        if not self._stored and (self._write is None or out_of_reach):
            self.leave()
            return
        # Of what is under way nobody will want to know.
        self._write = None
        self.log.copier = self.watcher = None
        self.hurry()

    # -- for the copier --------------------------------------------------------------------------------------------

    def next_write(self, now: float) -> Write:
        """What is to be written now: what nobody knows of once more, or what has changed."""
        self.marked = self.urgent = False
        self._repeated = self._write is not None
        if self._write is None:
            self._number += 1
            self._write = self._changes()
        self.written_at = now
        return self._write

    def settle(self, outcome: Outcome) -> None:
        """What became of the write."""
        write, self._write = self._write, None
        if self.ended:
            if outcome in (Outcome.FENCED, Outcome.LOST) or (write is not None and write.ended):
                self.leave()
            else:
                self.hurry()
        elif outcome is Outcome.DONE:
            assert write is not None
            self._done(write)
            if self._repeated:
                # What has changed since was marked, but is not in it.
                self.hurry()
        elif outcome is Outcome.FENCED:
            self._copier.when_settled(self, outcome)
        else:
            self._anew = True
            self.hurry()

    def _changes(self) -> Write:
        session, log, anew = self.session, self.log, self._anew
        write = Write(session.id, self.fence, self._number, self.ttl, released=self.released, ended=self.ended)
        if self.ended:
            return write
        if anew:
            write.created = Origin(session.user, session.token_digest, session.begins)
            write.last_turn = session.last_turn
        before = log.start if anew else max(log.durable, log.start)
        write.anew = anew or before > log.durable
        write.before = before
        if log.head > before:
            write.batch = Batch(log.head, tuple(Piece(*piece) for piece in log.pieces(before)))
        write.trim = log.start
        self._turns.tell(write, session.last_turn, anew=anew)
        if session.has_memory:
            self._remember(write, session.memory, anew)
        return write

    def _remember(self, write: Write, memory: Memory, anew: bool) -> None:
        if anew or memory.state.saved is not self._state:
            write.facts["state"] = self._state = memory.state.saved
        if anew:
            for ref, number in memory.taken.items():
                write.facts[place(number)] = envelope.encode_kept([ref, number])
        history = memory.history
        if anew or history.last is not self._said:
            said = history.since(None if anew else self._said)
            write.history = [one.packed() for one in said]
            write.history_length = len(history)
            self._said = history.last

    def _done(self, write: Write) -> None:
        log = self.log
        self._stored = True
        if write.created is not None:
            self._anew = False
        self._turns.told(write)
        log.durable = write.batch.last if write.batch is not None else write.before
        if log.strict and self.session.reader is not None:
            self.session.reader.wake()
        if self.watcher is not None:
            self.watcher(write)
        if write.released:
            self._copier.when_settled(self, Outcome.DONE)
            return
        if self._turns.all_stored:
            self.go_on()
        held, self._held = self._held, []
        for seq, then in held:
            self.when_stored(seq, then)
