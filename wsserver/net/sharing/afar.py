"""At the writer of a session: the connection to another process, whose client reads the session from there.

Events leave once they are stored, so that what is lost on the way can be read there. What the other process reports as
read moves the cursor, as if the client were here: it paces the callback in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...guard.seats import Owner
from ...store.port import Batch, Piece
from .letters import Letter, events

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...chat.log import Cursor
    from ...chat.session import Session
    from ...store.port import Write
    from .journal import Journal

    Send = Callable[[str, Letter], None]


class Afar:
    """The reader of `journal`'s session where the letter `claim` has come from.

    `heard` counts what its client has said; `owner` answers for what it leaves behind.
    """

    marked = True  # what is new is sent once it is stored: it need not be woken

    __slots__ = ("_cursor", "_journal", "_send", "_sent", "_soft_limit", "_told", "heard", "link", "owner", "process")

    def __init__(self, journal: Journal, claim: Letter, send: Send, soft_limit: int) -> None:
        self.process: str = claim.fields["from"]
        self.link: str = claim.fields["link"]
        owner = claim.fields.get("owner")
        self.owner = Owner(*owner) if owner is not None else None
        self.heard = 0
        self._journal = journal
        self._send = send
        self._soft_limit = soft_limit
        self._told = 0  # events that are not logged
        self._sent = journal.log.durable  # what was logged
        self._cursor: Cursor = journal.log.cursor(max(self._sent, journal.log.start))

    @property
    def session(self) -> Session:
        return self._journal.session

    def attach(self) -> None:
        """From now on the session is read there."""
        log = self._journal.log
        self.session.attach(self, self._cursor)
        self._journal.watcher = self._copied
        self._post(
            "mirrored",
            head=log.shown,
            start=log.start,
            begins=self.session.begins,
            active=self.session.active_turn,
        )

    def detach(self) -> None:
        """Nobody reads it there any more."""
        if self.session.reader is self:
            self._journal.watcher = None
            self.session.detach()

    # -- as a reader -----------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return self._cursor.behind > self._soft_limit

    def wake(self) -> None:
        """Nothing is to be done."""

    def send(self, payload: bytes) -> None:
        self._told += 1
        self._post("tell", payload, n=self._told, after=self._journal.log.head)

    # -- as a connection -------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str) -> None:
        self.detach()
        log = self._journal.log
        if log.head > self._sent >= log.start:
            # Perhaps nobody stores it any more.
            batch = Batch(log.head, tuple(Piece(*piece) for piece in log.pieces(self._sent)))
            self._send(self.process, events(self.link, self._sent, batch))
        self._post("closed", after=log.head, code=code, reason=reason)

    def close_now(self, code: int, reason: str) -> None:
        self.detach()
        self._post("closed", after=0, code=code, reason=reason)

    # -- letters ---------------------------------------------------------------------------------------------------

    def read(self, seq: int) -> None:
        """The client has taken what stands before."""
        log = self._journal.log
        if self._cursor.seq < seq <= log.head:
            self._cursor = log.cursor(max(seq, log.start))
            self.session.was_read(self._cursor)

    def hear(self, n: int) -> bool:
        """Whether something that the client said, the `n`th, is new. Raises `LookupError` where others are missing."""
        if n > self.heard + 1:
            raise LookupError(f"{n - self.heard - 1} letters of a client are lost")
        if n <= self.heard:
            return False
        self.heard = n
        return True

    def beat(self) -> None:
        """Says how far the log goes: what was sent may be lost."""
        self._post("head", seq=self._sent, told=self._told)

    def hand_over(self) -> None:
        """The session is free, and wanted there."""
        self.detach()
        self._post("yours")

    def _copied(self, write: Write) -> None:
        batch = write.batch
        if batch is None:
            return
        self._send(self.process, events(self.link, write.before, batch))
        self._sent = batch.last

    def _post(self, kind: str, body: bytes = b"", **fields: object) -> None:
        self._send(self.process, Letter(kind, {"link": self.link, "heard": self.heard, **fields}, body))
