"""A session: one conversation, its turns, its log and what it remembers.

Pure state: it says which turn is next and what is refused; running callbacks and moving bytes is for others. A session
knows its connection only as a `Reader`, and a callback that waits for that reader only as a `Gate`.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import deque
from hashlib import sha256
from os import urandom
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..errors import ClientError
from . import envelope
from .log import Log
from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..config import Config
    from .events import Message

#: What an entry of the history costs beside its content, roughly, in bytes: in memory, and on its way to a client.
ENTRY_OVERHEAD = 256

#: How many ids of messages a session remembers, to know one that is sent again.
REMEMBERED_IDS = 256


class Reader(Protocol):
    """What a session knows of the connection that reads it."""

    @property
    def full(self) -> bool:
        """Whether it is too far behind for what need not be kept."""
        ...

    def wake(self) -> None:
        """There is something new in the log."""

    def send(self, payload: bytes) -> None:
        """Sends an event that is not logged."""


class Gate(Protocol):
    """Where callbacks wait until their reader has caught up."""

    def set(self) -> None:
        """Lets all of them go on."""

    async def wait(self) -> Any:
        """Waits until then."""


class Said(NamedTuple):
    """One entry of the history."""

    turn: int
    role: str
    content: bytes  # as JSON: the objects that it makes take up to twenty times its size, and may be changed
    status: str
    truncated: bool

    @property
    def size(self) -> int:
        return len(self.content) + ENTRY_OVERHEAD

    def view(self) -> dict[str, Any]:
        """As a callback sees it."""
        return {"role": self.role, "content": envelope.decode_value(self.content), "status": self.status}

    def item(self) -> dict[str, Any]:
        """As a client sees it."""
        item = {"turn": self.turn, **self.view()}
        return {**item, "truncated": True} if self.truncated else item


class Session:
    """One conversation. `turn` is the one whose callback runs, if any; `waiting` are those behind it."""

    __slots__ = (
        "__weakref__",
        "_config",
        "_history",
        "_history_size",
        "_last_turn",
        "_taken",
        "epoch",
        "gate",
        "id",
        "log",
        "reader",
        "token_digest",
        "turn",
        "user",
        "waiting",
    )

    def __init__(self, config: Config, user: str | None = None) -> None:
        self.id = "s_" + _random_name()
        self.user = user
        self.epoch = 1
        self.log = Log(config.max_log_size)
        self.reader: Reader | None = None
        self.gate: Gate | None = None
        self.turn: Turn | None = None
        self.waiting: deque[Turn] = _NONE_WAITING
        self.token_digest = b""
        self._config = config
        self._last_turn = 0
        self._history: list[Said] | None = None
        self._history_size = 0
        self._taken: dict[str, int] | None = None

    def __repr__(self) -> str:
        return f"<Session {self.id} seq={self.log.head} turn={self.turn and self.turn.id} waiting={len(self.waiting)}>"

    def new_token(self) -> str:
        """A fresh resume token; only its SHA-256 is kept, as `token_digest`."""
        token = f"{self.id}.{_random_name()}"
        self.token_digest = sha256(token.encode()).digest()
        return token

    # -- what the client is told ---------------------------------------------------------------------------------

    def tell(self, event: str, data: Mapping[str, Any], turn: int | None = None) -> None:
        """An event for whoever reads now, never kept."""
        if self.reader is not None:
            self.reader.send(envelope.encode_event(event, data, self.id, turn))

    def publish(self, event: str, data: Mapping[str, Any], turn: int | None = None) -> None:
        """An event of the log. Raises `TypeError` for what JSON cannot hold; then nothing was logged."""
        self.log.append(envelope.encode_event(event, data, self.id, turn, self.log.head + 1))
        if self.reader is not None:
            self.reader.wake()

    def tell_history(self) -> None:
        """All that the person was shown, up to and with the last event of the log."""
        active = self.active
        self.tell(
            "history",
            {
                "items": [said.item() for said in self._history or ()],
                "active": active.shown() if active else None,
                "seq": self.log.head,
            },
        )

    # -- turns ---------------------------------------------------------------------------------------------------

    @property
    def active(self) -> Turn | None:
        """The turn that still has its final event before it."""
        return self.turn if self.turn is not None and not self.turn.over else None

    def unfinished(self) -> Iterator[Turn]:
        """The active turn and all that wait."""
        if self.active:
            yield self.active
        yield from tuple(self.waiting)

    def take(self, message: Message) -> Turn | None:
        """Gives a message its turn and puts it in the queue; an `ack` tells, where the message has an id.

        None where that id was taken before: each message makes exactly one turn. Raises `ClientError` `turn_active`
        or `queue_full`; such a message may be sent again.
        """
        before = len(self.waiting) + (self.active is not None)
        if message.id is not None:
            known = self._taken.get(message.id) if self._taken else None
            if known is not None:
                self.tell("ack", {"ref": message.id, "turn": known, "duplicate": True})
                return None
        if self._config.busy == "interrupt":
            before = 0
        elif before and self._config.busy == "reject":
            raise ClientError("turn_active", "a turn is running", retryable=True, ref=message.id)
        elif before > self._config.max_queue:
            raise ClientError("queue_full", "too many messages wait", retryable=True, ref=message.id)
        self._last_turn += 1
        # The longest answer still fits into the history, quotes and all.
        max_text = self._config.max_history - ENTRY_OVERHEAD - 2
        turn = Turn(self, self._last_turn, message.content, message.id, max_text)
        if self.waiting is _NONE_WAITING:
            self.waiting = deque()
        self.waiting.append(turn)
        if message.id is not None:
            self._remember_id(message.id, turn.id)
            self.tell("ack", {"ref": message.id, "turn": turn.id, "queued": before, "duplicate": False})
        return turn

    def next_turn(self) -> Turn | None:
        """Begins the next turn, unless a callback still runs or nothing waits."""
        if self.turn is not None or not self.waiting:
            return None
        turn = self.turn = self.waiting.popleft()
        self.remember(turn.id, "user", turn.content, "completed")
        self.publish("start", {"ref": turn.ref} if turn.ref is not None else {}, turn.id)
        return turn

    def _remember_id(self, ref: str, turn: int) -> None:
        if self._taken is None:
            self._taken = {}
        self._taken[ref] = turn
        if len(self._taken) > REMEMBERED_IDS:
            del self._taken[next(iter(self._taken))]

    # -- history -------------------------------------------------------------------------------------------------

    @property
    def history(self) -> list[dict[str, Any]]:
        """The conversation so far, oldest first, as `{"role", "content", "status"}`."""
        return [said.view() for said in self._history or ()]

    def remember(self, turn: int, role: str, content: Any, status: str, truncated: bool = False) -> None:
        """Adds to the history; what is oldest goes where it grows beyond its limit."""
        said = Said(turn, role, envelope.encode_kept(content), status, truncated)
        if self._history is None:
            self._history = []
        self._history.append(said)
        self._history_size += said.size
        while self._history_size > self._config.max_history:
            self._history_size -= self._history.pop(0).size


#: Stands for the queue of every session in which nothing ever waited.
_NONE_WAITING: deque[Turn] = deque()


def _random_name() -> str:
    """128 random bits in URL-safe characters."""
    return urlsafe_b64encode(urandom(16)).rstrip(b"=").decode()
