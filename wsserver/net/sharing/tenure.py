"""The sessions of a server that shares them with others: what it owes to those that it writes.

::

    written here ─▶ ended
       │   └──────▶ released: it was idle, and is wanted elsewhere; or the server ends
       └──────────▶ lost: another process has taken it, which held this one for dead
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ...chat.copied import CopiedLog, StrictLog
from ...chat.session import Session
from ...wire.close import CloseCode
from ..absences import Absence
from ..connection import Connection
from ..sessions import TAKEN_OVER, Sessions
from ..sockets import GOING_AWAY
from .afar import Afar
from .copier import Copier
from .journal import Journal
from .mirror import Mirror

if TYPE_CHECKING:
    from ...guard.seats import Owner
    from ...store.port import Store
    from ..sessions import Entry, OnClose, Place
    from ..sockets import Core
    from .exchange import Exchange
    from .letters import Letter
    from .turns import SharedTurns

logger = logging.getLogger(__name__)

#: Beyond the time that it waits for its client, a session is kept for so long, in seconds: who comes at the last moment
#: has to find it, and a client that is connected cannot know that its server has died.
GRACE = 10.0
KEEPING = 60.0

_ELSEWHERE = "another process has the session: come back"


class Tenure(Sessions):
    """`journals` are those of the sessions that are written here, by their ids.

    `exchange` carries letters to other processes, and is set before anybody enters.
    """

    exchange: Exchange

    def __init__(self, core: Core, turns: SharedTurns, on_close: OnClose | None, store: Store) -> None:
        super().__init__(core, turns, on_close)
        self.journals: dict[str, Journal] = {}
        self.copier = Copier(store, core.loop, core.config.flush_interval, self._lost, self._released)
        self.closing = False  # sessions go to whoever asks, whatever their callbacks still do
        self._shared_turns = turns

    @property
    def resumable(self) -> bool:
        return super().resumable and not self.copier.out

    def _new(self, user: str | None) -> Session:
        return Session(self._config, user, self.pool, self._log())

    def _log(self) -> CopiedLog:
        kind = StrictLog if self._config.durability == "strict" else CopiedLog
        return kind(self._config.max_log_size, self.pool)

    def _own(self, journal: Journal) -> None:
        self.journals[journal.session.id] = journal
        self.copier.journals.add(journal)

    # -- the client ------------------------------------------------------------------------------------------------

    def attach(self, entry: Entry, connection: Connection) -> None:
        session = entry.session
        if not isinstance(session, Mirror) and session.id not in self.journals:
            assert isinstance(session.log, CopiedLog)
            self._own(Journal(session, session.log, self.copier, 0.0))
            self.journals[session.id].hurry()
        super().attach(entry, connection)
        if isinstance(session, Mirror):
            session.connection = connection
            self.exchange.fill(session)
        else:
            self._keep(session, self._config.resume_ttl + KEEPING)

    def _take_over(self, session: Session, place: Place) -> None:
        older = self._places.get(session.id)
        super()._take_over(session, place)
        if isinstance(older, Afar):
            self.exchange.afar.pop(older.link, None)

    def detach(self, connection: Connection) -> None:
        session = connection.session
        if isinstance(session, Mirror):
            session.connection = None
            self.exchange.dismiss(session)
            if self._places.get(session.id) is connection:
                del self._places[session.id]
            return
        super().detach(connection)

    def _leave_alone(self, session: Session, owner: Owner | None) -> None:
        super()._leave_alone(session, owner)
        self._keep(session, self._config.resume_ttl + GRACE)

    def _keep(self, session: Session, ttl: float) -> None:
        journal = self.journals.get(session.id)
        if journal is not None:
            journal.ttl = ttl
            journal.mark()

    def refresh(self, now: float) -> None:
        """Sessions in which nothing happens are kept in the store as long as their clients are connected."""
        for session_id, journal in self.journals.items():
            if now - journal.written_at > KEEPING / 2 and not isinstance(self._places.get(session_id), Absence):
                journal.mark()

    # -- other processes -------------------------------------------------------------------------------------------

    def claimed(self, letter: Letter) -> str | None:
        """The client of a session is connected to the process that has sent this; what it is to be told, if anything.

        None where it is told by what follows: the session is being released, or is read from there from now on.
        """
        session_id, link = letter.fields["session"], letter.fields["link"]
        journal = self.journals.get(session_id)
        if journal is None:
            # Who is told that it is unknown takes it: one that has ended must have been told so to the store before.
            ending = any(other.session.id == session_id for other in self.copier.journals)
            return "free" if ending else "unknown"
        session = journal.session
        if journal.released:
            return None
        self._vacate(session)
        if self._is_idle(journal):
            place = self._places[session_id]
            if isinstance(place, Afar):
                self.gone_afar(place)
            elif isinstance(place, Connection):
                self._leave_alone(session, place.seat.owner)
            if not isinstance(place, Absence):
                place.close_now(CloseCode.TAKEN_OVER, TAKEN_OVER)
            journal.release()
            return None
        afar = Afar(journal, letter, self.exchange.send, self._config.soft_limit)
        self._take_over(session, afar)
        self._keep(session, self._config.resume_ttl + KEEPING)
        self.exchange.afar[link] = afar
        afar.attach()
        return None

    def gone_afar(self, afar: Afar) -> None:
        """The client that read from another process is gone."""
        self.exchange.afar.pop(afar.link, None)
        afar.detach()
        if self._places.get(afar.session.id) is afar:
            self._leave_alone(afar.session, afar.owner)

    def _is_idle(self, journal: Journal) -> bool:
        if journal.storing is not None or journal.later:
            return False
        return not (any(journal.session.unfinished()) if self.closing else journal.session.busy)

    def idle(self, session: Session) -> None:
        """Nothing runs or waits in a session any more: it moves to where its client is."""
        journal = self.journals.get(session.id)
        if journal is not None and not journal.released:
            # What the callback has left in the state.
            journal.mark()
            if isinstance(self._places.get(session.id), Afar) and self._is_idle(journal):
                journal.release()

    # -- going -----------------------------------------------------------------------------------------------------

    def shut_down(self, session: Session) -> None:
        """The server ends; the session does not, if it can go on elsewhere."""
        if not self._config.resume_ttl:
            super().shut_down(session)
            return
        place = self._places[session.id]
        if not isinstance(session, Mirror):
            self._shared_turns.end_all(session, "shutdown")
        if isinstance(place, Afar):
            self.gone_afar(place)
            place.close(CloseCode.SERVICE_RESTART, GOING_AWAY)
        elif isinstance(place, Connection):
            place.close(CloseCode.SERVICE_RESTART, GOING_AWAY)

    def release_all(self) -> None:
        """Whoever wants these sessions may have them."""
        for journal in tuple(self.journals.values()):
            if not journal.ended:
                journal.release()

    def _drop(self, session: Session, code: int, reason: str) -> None:
        place = self._places.get(session.id)
        if session.id in self.journals:
            # Nothing of it will be stored any more: its end must not wait for that.
            log = self.journals[session.id].log
            log.durable = log.head
        super()._drop(session, code, reason)
        if isinstance(place, Afar):
            self.exchange.afar.pop(place.link, None)
        journal = self.journals.pop(session.id, None)
        if journal is not None and not journal.left:
            journal.end(out_of_reach=self.copier.out)
        self.exchange.freed(session.id)

    def _released(self, journal: Journal) -> None:
        """All of it is stored, and free."""
        session = journal.session
        place = self._places.get(session.id)
        journal.leave()
        if isinstance(place, Afar):
            place.hand_over()
            self.exchange.afar.pop(place.link, None)
        self._vanish(session)

    def _lost(self, journal: Journal) -> None:
        """Another process has taken it: nothing that happens here counts any more."""
        session = journal.session
        logger.warning("%r is written by another process now: what goes on in it here is given up", session)
        journal.leave()
        self._shared_turns.give_up(session)
        place = self._places.get(session.id)
        self._vanish(session)
        if place is not None and not isinstance(place, Absence):
            place.close_now(CloseCode.SERVICE_RESTART, _ELSEWHERE)

    def _vanish(self, session: Session) -> None:
        """Nothing is known of it here any more; it goes on elsewhere, so `on_close` is not called here."""
        session.ended = True
        session.open_gate()
        place = self._places.pop(session.id, None)
        if isinstance(place, Absence):
            self._forget(place)
        elif isinstance(place, Afar):
            self.exchange.afar.pop(place.link, None)
        session.leave_pool()
        self.journals.pop(session.id, None)
        self.exchange.freed(session.id)
