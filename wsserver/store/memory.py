"""A store for servers of one program, which share a hub: nothing of it outlives the program.

It keeps the rules of the port to the letter, so that what is built on the port can be tried under any clock, and it
needs one event loop for all who share it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter, deque
from secrets import token_hex
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from .port import INBOX_SIZE, LETTERS_LEFT, NOTHING, Batch, Copy, Count, Origin, Outcome, Record, Seat, Write, total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class _Session:
    """What is kept of one session."""

    def __init__(self, origin: Origin, fence: int, writer: str, before: int) -> None:
        self.origin = origin
        self.fence = fence
        self.writer = writer
        self.number = 0
        self.start = self.head = before
        self.last_turn = 0
        self.log: list[Batch] = []
        self.facts: dict[str, bytes] = {}
        self.history: list[bytes] = []
        self.unfinished: dict[int, bytes] = {}
        self.letters: deque[bytes] = deque(maxlen=LETTERS_LEFT)
        self.ended = False
        self.kept_until = 0.0

    @property
    def record(self) -> Record:
        return Record(
            self.origin.user,
            self.origin.token_digest,
            self.origin.begins,
            self.writer,
            self.fence,
            self.start,
            self.head,
            self.last_turn,
        )

    def after(self, seq: int) -> list[Batch]:
        return self.log[bisect_right(self.log, seq, key=lambda batch: batch.last) :]

    def change(self, write: Write) -> None:
        """Everything of a write but its log."""
        self.facts |= write.facts
        if write.last_turn is not None:
            self.last_turn = write.last_turn
        self.history += write.history
        if write.history_length is not None:
            del self.history[: max(len(self.history) - write.history_length, 0)]
        self.unfinished |= write.accepted
        for turn in write.finished:
            self.unfinished.pop(turn, None)
        if write.released:
            self.writer = ""

    def append(self, write: Write) -> bool:
        """The log of a write; False where there would be a gap."""
        if write.anew:
            self.log.clear()
            self.start = self.head = write.before
        if write.batch is not None:
            if write.before != self.head:
                return False
            self.log.append(write.batch)
            self.head = write.batch.last
        if write.trim > self.start:
            self.start = min(write.trim, self.head)
            del self.log[: len(self.log) - len(self.after(self.start))]
        return True


class _Process:
    """What is kept of one process, and counts as long as it says that it lives."""

    def __init__(self) -> None:
        self.lives_until = 0.0
        self.inbox: deque[bytes] = deque(maxlen=INBOX_SIZE)
        self.arrived = asyncio.Event()
        self.seats: Counter[Seat] = Counter()
        self.count = NOTHING


class Hub:
    """What several `MemoryStore` share. `clock` gives seconds, as `loop.time` does; all leases are judged by it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._processes: dict[str, _Process] = {}
        self.callers = WeakValueDictionary[str, _Process]()  # who reads letters, whether it has a lease or none

    def __len__(self) -> int:
        """How many sessions and processes are remembered."""
        return len(self._sessions) + len(self._processes)

    def session(self, session_id: str) -> _Session | None:
        session = self._sessions.get(session_id)
        return session if session is not None and session.kept_until > self._clock() else None

    def keep(self, session_id: str, session: _Session, ttl: float) -> None:
        session.kept_until = self._clock() + ttl
        self._sessions[session_id] = session

    def process(self, name: str) -> _Process | None:
        process = self._processes.get(name)
        return process if process is not None and process.lives_until > self._clock() else None

    def renew(self, name: str, process: _Process, lease: float) -> None:
        """Begins a lease, or goes on with it; what has run out is swept away."""
        now = self._clock()
        self._sessions = {key: session for key, session in self._sessions.items() if session.kept_until > now}
        self._processes = {key: other for key, other in self._processes.items() if other.lives_until > now}
        self._processes[name] = process
        process.lives_until = now + lease

    def forget(self, name: str) -> None:
        self._processes.pop(name, None)

    def taken(self, seat: Seat) -> int:
        """Places of a seat that living processes hold."""
        now = self._clock()
        return sum(process.seats[seat] for process in self._processes.values() if process.lives_until > now)

    def count(self) -> Count:
        """What living processes have."""
        now = self._clock()
        living = [process.count for process in self._processes.values() if process.lives_until > now]
        return total(one._replace(instances=1) for one in living)


class MemoryStore:
    """A `Store` on a hub, as one server of the program sees it. `lease` is in seconds of the hub's clock."""

    def __init__(self, hub: Hub, *, lease: float = 15.0) -> None:
        self.process = token_hex(8)
        self.lease = lease
        self._hub = hub
        self._own = _Process()

    def __repr__(self) -> str:
        return f"<MemoryStore {self.process}>"

    async def open(self) -> None:
        self._hub.renew(self.process, self._own, self.lease)

    async def close(self) -> None:
        self._hub.callers.pop(self.process, None)
        self._hub.forget(self.process)

    async def renew(self, own: Count = NOTHING) -> None:
        self._own.count = own
        self._hub.renew(self.process, self._own, self.lease)

    async def count(self) -> Count:
        return self._hub.count()

    async def is_alive(self, process: str) -> bool:
        return self._hub.process(process) is not None

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def find(self, session_id: str) -> Record | None:
        session = self._hub.session(session_id)
        return None if session is None or session.ended else session.record

    async def take(self, session_id: str, fence: int, *, lost: bool) -> Copy | None:
        session = self._hub.session(session_id)
        if session is None or session.ended or session.fence != fence:
            return None
        session.fence += 1
        session.writer = self.process
        session.number = 0
        if lost:
            session.origin = session.origin._replace(begins=(*session.origin.begins, session.head))
        return Copy(
            session.record,
            tuple(session.log),
            dict(session.facts),
            tuple(session.history),
            dict(session.unfinished),
            tuple(session.letters),
        )

    def lane(self, session_id: str) -> str:
        return ""

    async def write(self, writes: Iterable[Write]) -> list[Outcome]:
        return [self._write(write) for write in writes]

    def _write(self, write: Write) -> Outcome:
        known = self._hub.session(write.session_id)
        if known is not None and known.fence >= write.fence:
            if known.fence > write.fence or known.writer not in ("", self.process):
                return Outcome.FENCED
            if write.number <= known.number:
                return Outcome.DONE
            if known.ended:
                return Outcome.FENCED
        if write.created is not None:
            session = _Session(write.created, write.fence, self.process, write.before)
        elif known is None or known.fence < write.fence:
            return Outcome.LOST
        elif write.number > known.number + 1 and not write.ended:
            return Outcome.GAP
        else:
            session = known
        if not session.append(write):
            return Outcome.GAP
        session.change(write)
        if not session.number:
            # Whoever took it has read the letters, and writes what they said.
            session.letters.clear()
        if write.ended:
            # Its fence is remembered, so that a late write does not bring it back.
            session = _Session(session.origin, write.fence, "", 0)
            session.ended = True
        session.number = write.number
        self._hub.keep(write.session_id, session, write.ttl)
        return Outcome.DONE

    async def read(self, session_id: str, after: int, count: int) -> list[Batch]:
        session = self._hub.session(session_id)
        return [] if session is None or session.ended else session.after(after)[:count]

    # -- letters -----------------------------------------------------------------------------------------------------

    async def post(self, letters: Iterable[tuple[str, bytes]]) -> None:
        for name, letter in letters:
            process = self._hub.process(name) or self._hub.callers.get(name)
            if process is not None:
                process.inbox.append(letter)
                process.arrived.set()

    async def receive(self) -> list[bytes]:
        own = self._own
        self._hub.callers[self.process] = own
        while not own.inbox:
            own.arrived.clear()
            await own.arrived.wait()
        letters = list(own.inbox)
        own.inbox.clear()
        return letters

    async def leave(self, session_id: str, letter: bytes) -> bool:
        session = self._hub.session(session_id)
        if session is None or session.ended or self._hub.process(session.writer) is not None:
            return False
        session.letters.append(letter)
        return True

    # -- seats -------------------------------------------------------------------------------------------------------

    async def sit(self, seats: Mapping[Seat, int]) -> Seat | None:
        for seat, limit in seats.items():
            if self._hub.taken(seat) >= limit:
                return seat
        self._own.seats.update(seats.keys())
        return None

    async def stand(self, seats: Iterable[Seat]) -> None:
        for seat in seats:
            give_back(self._own.seats, seat)


def give_back(held: Counter[Seat], seat: Seat) -> None:
    """One place less of a seat; nothing is kept of those of which none is held."""
    held[seat] -= 1
    if not held[seat]:
        del held[seat]
