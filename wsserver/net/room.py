"""What of the sessions of a server goes, and in which order, where they hold more memory than they may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from ..chat.pool import Pool
    from ..chat.session import Session
    from .absences import Absences

#: So much of it is freed that it is not short again at once.
_ENOUGH = 0.9


class Holders(Protocol):
    """All sessions that have not ended."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Session]: ...
    def end(self, session: Session, cause: Literal["disconnected"]) -> None: ...


def make_room(sessions: Holders, absences: Absences, pool: Pool) -> None:
    """Frees memory: what the absent would want replayed, what nobody may want, the longest histories, sessions."""
    enough = pool.limit * _ENOUGH
    for absence in absences:
        if pool.used <= enough:
            break
        absence.session.log.drop()
    for session in sessions:
        if pool.used <= enough:
            break
        session.log.trim(session.read, 0)
    # Who holds more than a fair share goes short before anybody else has to go, and of those the absent before others:
    # where all hold the same, that is more than a share.
    share = int(enough) // max(1, len(sessions))
    for session in sorted(sessions, key=lambda session: session.reader is not None):
        if pool.used <= enough:
            break
        session.trim_history(share)
        if session.turn is not None:
            session.turn.stop_growing(share)
    for absence in absences:
        if pool.used <= enough:
            break
        sessions.end(absence.session, "disconnected")
