"""A session: one conversation, its turns, its log and what it remembers.

Pure state: it says which turn is next and what is refused; running callbacks and moving bytes is for others. A session
knows its connection only as a `Reader`, and callbacks that wait for that reader only as a `Gate`.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from ..errors import ClientError
from . import envelope
from .claim import random_name
from .log import Log
from .memory import Memory
from .pool import Pool
from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..config import Config
    from .events import Answer, Message
    from .history import History
    from .log import Cursor
    from .reader import Gate, Reader
    from .state import State

#: Where the epochs of a session begin that has known one process only.
_FIRST_EPOCH = (0,)

#: How much more is published at a time while nobody reads, before the room is looked at again, in bytes.
_DETACHED_STEP = 2**14


class Session:
    """One conversation. `turn` is the one whose callback runs, if any; `waiting` are those behind it.

    `read` is the last event that a connection of it has taken; `bytes_until` and `messages_until` are for its limits.
    A process that takes it over from one that died begins another epoch: `begins` are the last events before each.
    """

    __slots__ = (
        "_config",
        "_memory",
        "begins",
        "bytes_until",
        "ended",
        "gate",
        "id",
        "last_turn",
        "log",
        "messages_until",
        "read",
        "reader",
        "token_digest",
        "turn",
        "user",
        "waiting",
    )

    def __init__(
        self, config: Config, user: str | None = None, pool: Pool | None = None, log: Log | None = None
    ) -> None:
        self.id = "s_" + random_name()
        self.user = user
        self.begins: tuple[int, ...] = _FIRST_EPOCH
        self.log = Log(config.max_log_size, pool) if log is None else log
        self.reader: Reader | None = None
        self.read = 0
        self.gate: Gate | None = None
        self.turn: Turn | None = None
        self.waiting: tuple[Turn, ...] = ()
        self.ended = False
        self.bytes_until = 0.0
        self.messages_until = 0.0
        self.token_digest = b""
        self._config = config
        self.last_turn = 0
        self._memory: Memory | None = None

    def __repr__(self) -> str:
        return f"<Session {self.id} seq={self.log.head} turn={self.turn and self.turn.id} waiting={len(self.waiting)}>"

    # -- who comes back ------------------------------------------------------------------------------------------

    def new_token(self) -> str:
        """A fresh resume token; only its SHA-256 is kept."""
        token = f"{self.id}.{random_name()}"
        self.token_digest = sha256(token.encode()).digest()
        return token

    def admits(self, token: str, user: str | None) -> bool:
        """Whether `token` opens this session for `user`."""
        digest = sha256(token.encode()).digest()
        return compare_digest(digest, self.token_digest) and user == self.user

    @property
    def epoch(self) -> int:
        """Counts the histories that the log may have had."""
        return len(self.begins)

    def holds_after(self, seq: int, epoch: int) -> bool:
        """Whether every event after `seq` is still held, and `seq` belongs to this history."""
        if epoch != self.epoch and not (0 < epoch < self.epoch and seq <= self.begins[epoch]):
            return False
        return self.log.start <= seq <= self.log.shown

    # -- what the client is told ---------------------------------------------------------------------------------

    def tell(self, event: str, data: Mapping[str, Any], turn: int | None = None) -> None:
        """An event for whoever reads now, never kept."""
        if self.reader is not None:
            self.reader.send(envelope.encode_event(event, data, self.id, turn))

    def publish(self, event: str, data: Mapping[str, Any], turn: int | None = None) -> None:
        """An event of the log. Raises `TypeError` for what JSON cannot hold; then nothing was logged."""
        self.log.append(envelope.kept(envelope.encode_event(event, data, self.id, turn, self.log.head + 1)))
        if self.reader is not None:
            self.reader.wake()

    def history_event(self) -> bytes:
        """All that the person was shown, up to and with the last event of the log."""
        data: dict[str, Any] = {
            "items": self.history.items(),
            "active": self.active.shown() if self.active else None,
            "seq": self.log.head,
        }
        if self.waiting:
            data["waiting"] = [turn.id for turn in self.waiting]
        return envelope.encode_event("history", data, self.id)

    def tell_history(self) -> None:
        """The same for whoever reads now."""
        if self.reader is not None:
            self.reader.send(self.history_event())

    # -- readers and their pace ----------------------------------------------------------------------------------

    def attach(self, reader: Reader, cursor: Cursor) -> None:
        """From now on `reader` reads the log, from the cursor on."""
        self.reader = reader
        self.was_read(cursor)

    def was_read(self, cursor: Cursor) -> None:
        """The reader has taken what stands before its cursor: what is old may go, what waits for room may go on."""
        log = self.log
        self.read = cursor.seq
        # Sessions in which nothing was said share one number.
        log.brake = cursor.position + self._config.soft_limit if cursor.position else self._config.soft_limit
        if log.size > log.limit:
            log.trim(cursor.seq)
        if self.gate is not None and log.written <= log.brake:
            self.open_gate()

    def detach(self) -> None:
        """Nobody reads any more. Who waited for the reader looks again whether there is room."""
        self.reader = None
        self.open_gate()

    def open_gate(self) -> None:
        """Lets all who wait look again whether they may go on."""
        if self.gate is not None:
            self.gate.set()
            self.gate = None

    @property
    def must_wait(self) -> bool:
        """Whether nothing more should be published now: the reader is behind, or the log full of what nobody read."""
        log = self.log
        if log.written > log.brake and self.reader is None:
            log.trim(self.read)
            # Only what is above its limit was trimmed; a limit of 0 leaves no room.
            if log.limit and log.size <= log.limit:
                log.brake = log.written + _DETACHED_STEP
        return log.written > log.brake

    # -- turns ---------------------------------------------------------------------------------------------------

    @property
    def active(self) -> Turn | None:
        """The turn that still has its final event before it."""
        return self.turn if self.turn is not None and not self.turn.over else None

    @property
    def active_turn(self) -> int | None:
        """Its number."""
        return self.active.id if self.active else None

    @property
    def busy(self) -> bool:
        """Whether a callback runs or a message waits."""
        return self.turn is not None or bool(self.waiting)

    def unfinished(self) -> Iterator[Turn]:
        """The active turn and all that wait."""
        if self.active:
            yield self.active
        yield from self.waiting

    def turn_of(self, message: Message) -> int | None:
        """The turn that it was given when it was taken before, as its id says; None where it is new."""
        return self.memory.taken.get(message.id) if message.id is not None else None

    def take(self, message: Message) -> Turn | None:
        """Gives a message its turn and puts it in the queue; an `ack` tells, where the message has an id.

        None where that id was taken before: each message makes exactly one turn. Raises `ClientError` `turn_active`
        or `queue_full`; such a message may be sent again.
        """
        turn = self.accept(message)
        self.acknowledge(message, turn)
        return turn

    def accept(self, message: Message) -> Turn | None:
        """The same without an `ack`."""
        if self.turn_of(message) is not None:
            return None
        before = len(self.waiting) + (self.active is not None)
        if self._config.busy == "interrupt":
            before = 0
        elif before and self._config.busy == "reject":
            raise ClientError("turn_active", "a turn is running", retryable=True, ref=message.id)
        elif before > self._config.max_queue:
            raise ClientError("queue_full", "too many messages wait", retryable=True, ref=message.id)
        self.last_turn += 1
        said = envelope.encode_kept(message.content)
        turn = Turn(self, self.last_turn, said, message.id, self._config.max_history)
        self.waiting = (*self.waiting, turn)
        if message.id is not None:
            self.memory.remember(message.id, turn.id)
        return turn

    def acknowledge(self, message: Message, turn: Turn | None) -> None:
        """The `ack` of a message with an id: it has become this turn, or, None, one that is known."""
        if message.id is None:
            return
        if turn is None:
            self.tell("ack", {"ref": message.id, "turn": self.turn_of(message), "duplicate": True})
            return
        is_behind = self._config.busy != "interrupt" and turn in self.waiting
        queued = self.waiting.index(turn) + (self.active is not None) if is_behind else 0
        self.tell("ack", {"ref": message.id, "turn": turn.id, "queued": queued, "duplicate": False})

    def next_turn(self) -> Turn | None:
        """Begins the next turn, unless a callback still runs or nothing waits."""
        if self.turn is not None or not self.waiting:
            return None
        self.turn, *rest = self.waiting
        self.waiting = tuple(rest)
        self.turn.begin()
        return self.turn

    def drop(self, turn: Turn) -> None:
        """A turn that was ended while it waits is not begun."""
        self.waiting = tuple(one for one in self.waiting if one is not turn)

    def answer(self, answer: Answer) -> None:
        """Hands an answer to the turn that asks. Raises `ClientError` `not_active` or `bad_message`."""
        if self.active is None:
            raise ClientError("not_active", "this question is not open", ref=answer.id)
        self.active.answer(answer.call_id, answer.value, answer.id)

    # -- memory --------------------------------------------------------------------------------------------------

    @property
    def memory(self) -> Memory:
        """What it remembers; made when it is first asked for."""
        if self._memory is None:
            self._memory = Memory(self._config, self.log.pool)
        return self._memory

    @property
    def has_memory(self) -> bool:
        """Whether there is anything that it remembers."""
        return self._memory is not None

    @property
    def history(self) -> History:
        """What was said so far."""
        return self.memory.history

    @property
    def state(self) -> State:
        """The object that the application keeps here."""
        return self.memory.state

    def trim_history(self, limit: int) -> None:
        """Forgets what was said first, down to so many bytes."""
        if self._memory is not None:
            self._memory.history.trim(limit)

    def leave_pool(self) -> None:
        """What it still holds is no longer counted: the session has ended."""
        pool, self.log.pool = self.log.pool, Pool()
        pool.add(-self.log.size)
        if self._memory is not None:
            self._memory.history.leave_pool()
