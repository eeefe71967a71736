"""Where a session is that a client comes back to: each has one writer, and moves to where its client is.

::

    enter ─▶ here already
      │      written by nobody, or by a process that died: taken
      │      written elsewhere, and idle: released there, then taken
      └────▶ written elsewhere, and busy: mirrored, until it is idle; then taken
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ...errors import HandshakeError, StoreError
from ...wire.close import CloseCode
from ..connection import Connection
from ..sessions import TAKEN_OVER, Entry
from .mirror import BROKEN, Mirror
from .revival import revive
from .seating import Seating
from .tenure import GRACE, KEEPING, Tenure

if TYPE_CHECKING:
    from ...chat.claim import Claim
    from ...chat.session import Session
    from ...guard.seats import Owner, Seat
    from ...store.port import Copy, Store
    from ..sessions import OnClose
    from ..sockets import Core
    from .journal import Journal
    from .turns import SharedTurns

logger = logging.getLogger(__name__)

#: Who finds a session on the move looks again after so many seconds.
_PAUSE = 0.25


class Directory(Tenure):
    """All sessions of all processes that share `store`."""

    waits = True

    def __init__(self, core: Core, turns: SharedTurns, on_close: OnClose | None, store: Store) -> None:
        super().__init__(core, turns, on_close, store)
        self._store = store
        self._locks = WeakValueDictionary[str, asyncio.Lock]()  # each is there as long as somebody holds or awaits it
        self._seating = Seating(store, core.config, core.loop, self.copier.missed)
        self._takings: set[asyncio.Task[Journal | None]] = set()

    async def sit(self, seat: Seat, entry: Entry) -> None:
        """Raises `HandshakeError` 503 too, where the session has gone while this waited for the store."""
        await self._seating.sit(seat, comes_back=entry.claim is not None)
        if entry.claim is not None and not self._is_here(entry.session):
            raise _later("the session has moved meanwhile, try again")

    async def enter(self, user: str | None, claim: Claim | None, owner: Owner | None) -> Entry:
        """The session that is claimed, wherever it is, else a new one. Raises `HandshakeError` 503."""
        if claim is None:
            return Entry(self._new(user), None)
        give_up_at = self._loop.time() + 2 * self._store.lease
        try:
            async with self.alone(claim.session_id):
                for attempt in count():
                    if self._loop.time() >= give_up_at:
                        break
                    if attempt > 2:
                        # It moves about.
                        await asyncio.sleep(_PAUSE)
                    session = await self._find(user, claim, owner)
                    if session is not None:
                        is_known = session.id == claim.session_id
                        return Entry(session, claim if is_known else None)
        except StoreError as exc:
            self.copier.missed(exc)
            raise _later("sessions cannot be looked up now, try again later") from exc
        raise _later("the session is still busy elsewhere")

    async def taken(self) -> None:
        """Returns once nothing is about to be taken."""
        while self._takings:
            await asyncio.wait(self._takings)

    async def stop(self) -> None:
        """Returns once nothing of it waits for the store."""
        await self._seating.stop()

    def alone(self, session_id: str) -> asyncio.Lock:
        """What whoever looks for a session holds meanwhile: who comes twice is to find what the first has found."""
        return self._locks.setdefault(session_id, asyncio.Lock())

    async def _find(self, user: str | None, claim: Claim, owner: Owner | None) -> Session | None:
        """The session, or a new one if it cannot be had; None where it is on the move."""
        place = self._places.get(claim.session_id)
        session = place.session if place is not None else None
        if session is not None and not isinstance(session, Mirror):
            if not session.admits(claim.token, user):
                return self._new(user)
            journal = self.journals[session.id]
            if claim.epoch > session.epoch and await self._is_lost(journal):
                # Its client has been elsewhere, where they have held this process for dead.
                self._lost(journal)
            if self._is_here(session):
                self._vacate(session)
                return session
            await journal.gone(self._loop.create_future())
        record = await self._store.find(claim.session_id)
        if record is None:
            return self._new(user)
        mirror = Mirror(
            claim.session_id, record, owner, self._config, self.pool, self.exchange.send, self.exchange.fill
        )
        if not mirror.admits(claim.token, user):
            return self._new(user)
        if session is not None:
            self._vacate(session)
        if record.writer == self._store.process or not (record.writer and await self._store.is_alive(record.writer)):
            await self.take(claim.session_id, record.fence, owner, lost=bool(record.writer))
            return None
        answer = await self.exchange.claim(mirror, claim, _PAUSE * 4)
        if answer is None or answer.kind == "free":
            return None
        if answer.kind == "unknown":
            # It is in nobody's memory: perhaps it is about to be in one's.
            await asyncio.sleep(_PAUSE)
            again = await self._store.find(claim.session_id)
            if again is not None and again.fence == record.fence and again.writer == record.writer:
                await self.take(claim.session_id, record.fence, owner, lost=True)
            return None
        return mirror

    def _is_here(self, session: Session) -> bool:
        """Whether a client can read it here: this process writes it and goes on to, or is shown it by its writer."""
        if isinstance(session, Mirror):
            return self.exchange.shows(session)
        journal = self.journals.get(session.id)
        return journal is not None and journal.session is session and not journal.released

    async def _is_lost(self, journal: Journal) -> bool:
        """Whether another process has taken the session, and this one has not heard of it."""
        record = await self._store.find(journal.session.id)
        return not journal.left and (record is None or record.fence > journal.fence)

    async def take(self, session_id: str, fence: int, owner: Owner | None, *, lost: bool) -> Journal | None:
        """Becomes the writer; None where another process was faster. Raises `StoreError`.

        Until it is attached nobody answers for the session; where this is cancelled, `owner` does.
        """
        # Whoever waits for it may go away; what was taken must not be left in nobody's hands.
        task = self._loop.create_task(self._take(session_id, fence, lost))
        self._takings.add(task)
        task.add_done_callback(self._takings.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda _: self.answers_for(session_id, owner))
            raise

    async def _take(self, session_id: str, fence: int, lost: bool) -> Journal | None:
        copy = await self._store.take(session_id, fence, lost=lost)
        if copy is None:
            return None
        logger.debug("taking over %s%s", session_id, ", whose process has died" if lost else "")
        return self._revive(session_id, copy)

    def _revive(self, session_id: str, copy: Copy) -> Journal:
        ttl = self._config.resume_ttl + GRACE
        journal = revive(session_id, copy, self._log(), self._config, self.pool, self.copier, ttl)
        self._own(journal)
        older = self._places.pop(session_id, None)
        self._leave_alone(journal.session, None)
        if self.closing:
            # Who wanted it is being sent away.
            journal.release()
        else:
            journal.hurry()
        if isinstance(older, Connection) and isinstance(older.session, Mirror) and not older.session.moving:
            older.close_now(CloseCode.TAKEN_OVER, TAKEN_OVER)
        for letter in copy.letters:
            self.exchange.left_behind(letter)
        return journal

    def adopt(self, mirror: Mirror, session: Session) -> None:
        """The session that a connection has mirrored is written here from now on."""
        connection = mirror.connection
        assert connection is not None
        if not session.holds_after(connection.pump.seq, session.epoch):
            self.answers_for(session.id, mirror.owner)
            connection.close(CloseCode.SERVICE_RESTART, BROKEN)
            return
        session.messages_until, session.bytes_until = mirror.messages_until, mirror.bytes_until
        self._take_over(session, connection)
        connection.session = session
        connection.pump.attach(session, session.log.cursor(connection.pump.seq))
        connection.pump.wake()
        self._keep(session, self._config.resume_ttl + KEEPING)


def _later(text: str) -> HandshakeError:
    return HandshakeError(503, text, [("Retry-After", "1")], reason="store")
