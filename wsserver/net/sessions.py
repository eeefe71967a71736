"""The sessions of a server: attached to a connection, detached until their client comes back, ended.

::

    enter ─▶ attached ◀──▶ detached ─▶ ended: by its time, for want of memory
                └──────────────────────▶ ended: by the client, the application, the end of the server
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..chat import envelope
from ..chat.pool import Pool
from ..chat.session import Session
from ..chat.view import SessionView
from ..config import NO_LIMIT
from ..counters import count
from ..errors import SessionNotFound
from ..wire.close import CloseCode
from .absences import Absence, Absences
from .connection import Connection
from .room import make_room
from .sockets import GOING_AWAY
from .sweeper import TICK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from ..chat.claim import Claim
    from ..chat.turn import Cause
    from ..guard.seats import Owner, Seat
    from .sockets import Core
    from .turns import Turns

    OnClose = Callable[[SessionView], Awaitable[None]]

logger = logging.getLogger(__name__)

TAKEN_OVER = "taken over by a newer connection"


class Remote(Protocol):
    """A connection to another process, which reads the session from here."""

    @property
    def session(self) -> Session: ...

    def close(self, code: int, reason: str) -> None:
        """Ends it behind all that was published."""

    def close_now(self, code: int, reason: str) -> None:
        """Ends it at once."""


Place = Connection | Absence | Remote


class Entry(NamedTuple):
    """A session for a connection; `claim` is what it was resumed by, None for a new one."""

    session: Session
    claim: Claim | None


class Sessions:
    """All sessions that have not ended. `on_close` is the application's, called once for each that ends."""

    def __init__(self, core: Core, turns: Turns, on_close: OnClose | None) -> None:
        config, loop = core.config, core.loop
        self._config = config
        self._loop = loop
        self._sweeper = core.sweeper
        self._turns = turns
        self._counters = core.ledger.counters
        self._on_close = on_close
        self._places: dict[str, Place] = {}  # where each session is, by its id
        self._absences = Absences(config)
        self._is_short = False  # of memory
        self._closings: set[asyncio.Task[None]] = set()
        self.pool = Pool(config.max_memory or NO_LIMIT, lambda: loop.call_soon(self._make_room))

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Session]:
        return (place.session for place in tuple(self._places.values()) if place.session is not None)

    def __getitem__(self, session_id: str) -> Session:
        """The session of this name; raises `SessionNotFound`."""
        place = self._places.get(session_id)
        if place is None or place.session is None:
            raise SessionNotFound(session_id)
        return place.session

    #: Whether `enter` may have to wait.
    waits = False

    @property
    def resumable(self) -> bool:
        """Whether a client that comes now can come back."""
        return self._config.resume_ttl > 0

    def connection_of(self, session: Session) -> Connection | None:
        """The connection that reads it, if one does."""
        place = self._places.get(session.id)
        return place if isinstance(place, Connection) else None

    @property
    def absent(self) -> int:
        """How many wait for their client."""
        return len(self._absences)

    @property
    def closings(self) -> Collection[asyncio.Task[None]]:
        """What `on_close` has not finished."""
        return self._closings

    # -- coming and going ----------------------------------------------------------------------------------------

    async def enter(self, user: str | None, claim: Claim | None, owner: Owner | None) -> Entry:
        """The session that is claimed, if it can be had, else a new one. `settle` is called behind it, whatever comes.

        `owner` answers for what is left behind where the client goes before it is attached.
        """
        place = self._places.get(claim.session_id) if claim is not None else None
        session = place.session if place is not None else None
        if claim is not None and session is not None and session.admits(claim.token, user):
            self._vacate(session)
            return Entry(session, claim)
        return Entry(self._new(user), None)

    async def sit(self, seat: Seat, entry: Entry) -> None:
        """Takes what the connection of a session holds beyond this process. Raises `HandshakeError` 429."""

    def _new(self, user: str | None) -> Session:
        return Session(self._config, user, self.pool)

    def _vacate(self, session: Session) -> None:
        older = self.connection_of(session)
        if older is not None:
            # Its place is free for the one that takes over.
            older.seat.vacate()

    def settle(self, claim: Claim, user: str | None, owner: Owner | None) -> None:
        """The handshake with this claim is over: nothing is left that nobody counts, if it came to nothing."""
        place = self._places.get(claim.session_id)
        if place is None or place.session is None or not place.session.admits(claim.token, user):
            return
        if isinstance(place, Absence):
            self.answers_for(claim.session_id, owner)
        elif isinstance(place, Connection) and place.seat.is_vacated:
            # It may not stay without a place, and its client has said that it has gone.
            place.close_now(CloseCode.TAKEN_OVER, TAKEN_OVER)

    def answers_for(self, session_id: str, owner: Owner | None) -> None:
        """Where a session waits for its client, and nobody answers for that, this one does."""
        place = self._places.get(session_id)
        if isinstance(place, Absence) and place.owner is None and owner is not None:
            self._forget(place)
            self._leave_alone(place.session, owner)

    def attach(self, entry: Entry, connection: Connection) -> None:
        """From now on the connection reads the session; an older one is closed."""
        session, claim = entry
        self._take_over(session, connection)
        connection.session = session
        recovered = claim is not None and session.holds_after(claim.last_seq, claim.epoch)
        self._count(session, claim, recovered)
        connection.pump.send(self._greeting(session, claim, recovered))
        cursor = session.log.cursor(claim.last_seq if claim is not None and recovered else None)
        connection.pump.attach(session, cursor, missed=session.log.shown if claim is not None else None)

    def _take_over(self, session: Session, place: Place) -> None:
        """The session is there now, and no more where it was."""
        older = self._places.get(session.id)
        self._places[session.id] = place
        if isinstance(older, Absence):
            self._forget(older)
        elif older is not None and older is not place:
            older.close_now(CloseCode.TAKEN_OVER, TAKEN_OVER)

    def _count(self, session: Session, claim: Claim | None, recovered: bool) -> None:
        counters = self._counters
        if claim is None:
            counters.sessions += 1
        elif recovered:
            count(counters.resumes, "recovered")
            counters.replayed.observe(session.log.shown - claim.last_seq)
        else:
            count(counters.resumes, "hole")

    def _greeting(self, session: Session, claim: Claim | None, recovered: bool) -> bytes:
        config = self._config
        data = {
            "resumed": claim is not None,
            "recovered": recovered,
            "resumable": self.resumable,
            "epoch": session.epoch,
            "seq": session.log.shown,
            # The same one again: were it another, and this frame lost, nobody could come back.
            "resume_token": session.new_token() if claim is None else claim.token,
            "resume_ttl": config.resume_ttl,
            "ping_interval": config.ping_interval,
            "max_message_size": config.max_message_size,
            "active_turn": session.active_turn,
        }
        return envelope.encode_event("session", data, session.id)

    def detach(self, connection: Connection) -> None:
        """The connection is lost: its session waits for the next one, if it may."""
        session = connection.session
        if session is None or self._places.get(session.id) is not connection:
            return
        self._leave_alone(session, connection.seat.owner)

    def _leave_alone(self, session: Session, owner: Owner | None) -> None:
        """Its client is away: it waits for it, if it may."""
        if not self._config.resume_ttl:
            self.end(session, "disconnected")
            return
        while (surplus := self._absences.surplus(owner)) is not None:
            self.end(surplus.session, "disconnected")
        absence = self._places[session.id] = Absence(session, owner, self)
        self._absences.add(absence)
        self._sweeper.limit(absence, self._config.resume_ttl)
        if self._config.on_disconnect == "cancel":
            self._turns.end_all(session, "disconnected")

    def expired(self, absence: Absence) -> None:
        """Nobody came back in time."""
        self.end(absence.session, "disconnected")

    def end(self, session: Session, cause: Cause, code: int = CloseCode.NORMAL, reason: str = "ended") -> None:
        """Ends the session: its turns with their final events, then its connection with `code`."""
        if session.ended:
            return
        session.ended = True
        self._turns.end_all(session, cause)
        self._drop(session, code, reason)
        if self._on_close is not None:
            task = self._loop.create_task(self._close(self._on_close, session))
            self._closings.add(task)
            task.add_done_callback(self._closings.discard)

    def shut_down(self, session: Session) -> None:
        """The server ends: so does the session."""
        self.end(session, "shutdown", CloseCode.SERVICE_RESTART, GOING_AWAY)

    def _drop(self, session: Session, code: int, reason: str) -> None:
        """Nothing is known of it here any more; its connection is closed behind all that was published."""
        session.ended = True
        session.open_gate()
        place = self._places.pop(session.id)
        if isinstance(place, Absence):
            self._forget(place)
        else:
            place.close(code, reason)
        session.leave_pool()

    def _forget(self, absence: Absence) -> None:
        self._absences.remove(absence)
        self._sweeper.cancel(absence)

    async def _close(self, on_close: OnClose, session: Session) -> None:
        try:
            async with asyncio.timeout(self._config.close_timeout or None):
                await on_close(SessionView(session))
        except Exception:
            logger.exception("on_close of %r failed", session)

    # -- memory --------------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Memory is short."""
        if not self._is_short:
            self._is_short = True
            logger.warning(
                "sessions hold %d bytes, more than --max-memory allows (%d)", self.pool.used, self.pool.limit
            )
        make_room(self, self._absences, self.pool)
        # What is left is bounded by its readers: looking through all sessions without a pause would help nobody.
        self._loop.call_later(TICK, self._look_again)

    def _look_again(self) -> None:
        self._is_short = self.pool.used > self.pool.limit
        self.pool.relieved()
