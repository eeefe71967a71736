"""A session whose writer is another process, as the process sees it that its client is connected to.

What the writer publishes comes by letters, and goes into a log from which the client is sent it as from any other; what
is missing is read from the store. What the client says goes to the writer, and is kept until that has heard it: where
the session moves here, what was not heard there is said here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ...chat import envelope
from ...chat.claim import random_name
from ...chat.log import Log
from ...chat.session import Session
from ...wire.close import CloseCode
from .letters import Letter, batch_of
from .revival import Templates, append

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...chat.claim import Claim
    from ...chat.log import Cursor
    from ...chat.pool import Pool
    from ...config import Config
    from ...guard.seats import Owner
    from ...store.port import Batch, Record
    from ..connection import Connection

    Send = Callable[[str, Letter], None]

#: What is read is reported after so many bytes, and with every beat.
_REPORT_SIZE = 2**14

#: So much that a client says may wait to be heard.
_MOST_UNHEARD = 1000

BROKEN = "the way to the server that is answering is broken: come back"


class MirrorLog(Log):
    """Holds what its reader has not read. `head_there` is the end of the log that it mirrors, as far as is known."""

    __slots__ = ("head_there",)

    def __init__(self, pool: Pool) -> None:
        super().__init__(0, pool)
        self.head_there = 0

    @property
    def shown(self) -> int:
        return max(self.head, self.head_there)


class Mirror(Session):
    """`connection` is the one that reads it; `owner` answers for it. `fill` is called where events are missing."""

    log: MirrorLog

    __slots__ = (
        "_active_turn",
        "_asked",
        "_heard",
        "_late",
        "_read_at",
        "_said",
        "_send",
        "_templates",
        "_told",
        "_unheard",
        "connection",
        "fill",
        "filling",
        "link",
        "moving",
        "owner",
        "writer",
    )

    def __init__(
        self,
        session_id: str,
        record: Record,
        owner: Owner | None,
        config: Config,
        pool: Pool,
        send: Send,
        fill: Callable[[Mirror], None],
    ) -> None:
        super().__init__(config, record.user, pool, MirrorLog(pool))
        self.id = session_id
        self.token_digest = record.token_digest
        self.writer = record.writer
        self.owner = owner
        self.link = random_name()
        self.connection: Connection | None = None
        self.fill = fill
        self.filling = False
        self.moving = False  # it is about to be written here
        self._send = send
        self._active_turn: int | None = None
        self._templates = Templates(session_id)
        self._read_at = 0
        self._told: deque[tuple[int, Letter]] = deque()  # not logged: each behind an event of the log
        self._heard = 0  # how many of those have come
        self._said = 0
        self._asked = 0  # the number of the last question for the history
        self._late = False
        self._unheard: deque[tuple[int, bytes]] = deque()

    @property
    def active_turn(self) -> int | None:
        return self._active_turn

    def claim(self) -> None:
        """Asks the writer for the session."""
        self.post("claim", session=self.id, owner=None if self.owner is None else list(self.owner))

    def begin(self, letter: Letter, claim: Claim) -> None:
        """The writer has agreed; the client comes back with this claim."""
        fields, log = letter.fields, self.log
        self.begins = tuple(fields["begins"])
        self._active_turn = fields["active"]
        log.begin_behind(fields["start"])
        log.head_there = fields["head"]
        log.begin_behind(claim.last_seq if self.holds_after(claim.last_seq, claim.epoch) else log.head_there)

    def post(self, kind: str, body: bytes = b"", **fields: object) -> None:
        """A letter to the writer."""
        self._send(self.writer, Letter(kind, {"link": self.link, **fields}, body))

    # -- the client ------------------------------------------------------------------------------------------------

    def say(self, payload: bytes) -> None:
        """The client has said something."""
        self._said += 1
        self._unheard.append((self._said, payload))
        if not self.moving:
            self.post("say", payload, n=self._said)
        if len(self._unheard) > _MOST_UNHEARD:
            self.close(CloseCode.SERVICE_RESTART, BROKEN)

    def ask_history(self, payload: bytes) -> bool:
        """The client wants to see the history. False where it is yet to be answered: one at a time.

        The answer is a thousand times as large as the question. Where the session is written, whoever asks and does not
        read is read no more; here the first answer is on its way when the next question comes.
        """
        if self._unheard and self._unheard[0][0] <= self._asked:
            return False
        self.say(payload)
        self._asked = self._said
        return True

    def unheard(self) -> list[bytes]:
        """What the writer has not heard."""
        return [payload for _, payload in self._unheard]

    def was_read(self, cursor: Cursor) -> None:
        super().was_read(cursor)
        if cursor.position - self._read_at >= _REPORT_SIZE:
            self._read_at = cursor.position
            self.post("read", seq=cursor.seq, said=self._said)

    def beat(self) -> None:
        """Says how far it has come: what it has said may be lost."""
        if not self.moving:
            self.post("read", seq=self.read, said=self._said)

    def given_up(self) -> bool:
        """Whether no connection has come for long: true from the second call on."""
        given_up, self._late = self._late, True
        return given_up

    def close(self, code: int, reason: str) -> None:
        """Closes the connection behind all that has come."""
        if self.connection is not None:
            self.connection.close(code, reason)

    # -- letters ---------------------------------------------------------------------------------------------------

    def receive(self, letter: Letter) -> None:
        """What the writer says."""
        fields = letter.fields
        while self._unheard and self._unheard[0][0] <= fields.get("heard", 0):
            self._unheard.popleft()
        if letter.kind == "events":
            self._log(fields["before"], batch_of(letter))
        elif letter.kind == "head":
            self._reaches(fields["seq"])
            if fields["told"] > self._heard:
                self.close(CloseCode.SERVICE_RESTART, BROKEN)
        elif letter.kind == "tell":
            if fields["n"] > self._heard + 1:
                self.close(CloseCode.SERVICE_RESTART, BROKEN)
            elif fields["n"] == self._heard + 1:
                self._heard += 1
                self._tell(fields["after"], letter)
        elif letter.kind == "closed":
            if fields["after"]:
                self._tell(fields["after"], letter)
            elif self.connection is not None:
                self.connection.close_now(fields["code"], fields["reason"])

    def _log(self, before: int, batch: Batch) -> None:
        if before > self.log.head:
            self._reaches(batch.last)
        elif batch.last > self.log.head:
            self.append(batch)

    def append(self, batch: Batch) -> None:
        """Events that come next, among others that came before."""
        append(self.log, self._templates, batch)
        if self.reader is not None:
            self.reader.wake()
        while self._told and self._told[0][0] <= self.log.head:
            self._show(self._told.popleft()[1])

    def _reaches(self, seq: int) -> None:
        """The log of the writer goes so far."""
        log = self.log
        log.head_there = max(log.head_there, seq)
        if log.head < log.head_there:
            self.fill(self)

    def _tell(self, after: int, letter: Letter) -> None:
        if after <= self.log.head and not self._told:
            self._show(letter)
        else:
            self._told.append((after, letter))

    def _show(self, letter: Letter) -> None:
        if letter.kind == "closed":
            self.close(letter.fields["code"], letter.fields["reason"])
        elif self.reader is not None and not (self.reader.full and envelope.is_passing(letter.body)):
            self.reader.send(letter.body)
