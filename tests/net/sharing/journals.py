"""A session and its journal without a server: a test says what happens in it, and what becomes of each write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsserver.chat.copied import CopiedLog, StrictLog
from wsserver.chat.events import Message
from wsserver.chat.session import Session
from wsserver.config import Config
from wsserver.net.sharing.journal import Journal
from wsserver.store.port import Outcome

if TYPE_CHECKING:
    from wsserver.chat.turn import Turn
    from wsserver.store.port import Write

CONFIG = Config()


class Desk:
    """In place of the copier: what journals have told it."""

    def __init__(self) -> None:
        self.marked: list[Journal] = []
        self.settled: list[Outcome] = []
        self.forgotten: list[Journal] = []

    def mark(self, journal: Journal) -> None:
        self.marked.append(journal)

    def when_settled(self, journal: Journal, outcome: Outcome) -> None:
        self.settled.append(outcome)

    def forget(self, journal: Journal) -> None:
        self.forgotten.append(journal)


def made(desk: Desk, *, strict: bool = False) -> tuple[Session, Journal]:
    """A session of ann's that nobody has written yet."""
    log = (StrictLog if strict else CopiedLog)(CONFIG.max_log_size)
    session = Session(CONFIG, "ann", log=log)
    session.new_token()
    return session, Journal(session, log, desk, 60.0)


def say(session: Session, journal: Journal, text: str, ref: str | None = None) -> Turn:
    """A message that is taken, and is to be stored."""
    turn = session.accept(Message(text, ref))
    assert turn is not None
    journal.accept(turn, lambda: None)
    return turn


def begin(session: Session) -> Turn:
    """The turn that has waited longest."""
    turn = session.next_turn()
    assert turn is not None
    return turn


def written(journal: Journal, outcome: Outcome = Outcome.DONE, now: float = 0.0) -> Write:
    """The next write, once that has become of it."""
    write = journal.next_write(now)
    journal.settle(outcome)
    return write
