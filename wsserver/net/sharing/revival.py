"""A session out of its copy: what a process makes that takes it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...chat import envelope
from ...chat.history import Said
from ...chat.session import Session
from .journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...chat.copied import CopiedLog
    from ...chat.log import Log
    from ...chat.pool import Pool
    from ...config import Config
    from ...store.port import Batch, Copy
    from .journal import Copier

#: What a person is told of an answer whose process has died.
_LOST = "the server that was answering is gone"


class Templates:
    """The envelopes of the tokens of one session, for one turn after the other."""

    __slots__ = ("_made", "_session_id", "_turn")

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._turn = 0
        self._made = b""

    def of(self, turn: int) -> bytes:
        """The very same object as long as the turn is the same."""
        if turn != self._turn:
            self._turn, self._made = turn, envelope.token_template(self._session_id, turn)
        return self._made


def append(log: Log, templates: Templates, batch: Batch) -> None:
    """Appends what of a batch the log does not hold yet; the batch must not begin behind the log's end."""
    skip = log.head - (batch.last - sum(len(piece.values) for piece in batch.pieces))
    for turn, values in batch.pieces:
        fresh = values[skip:] if skip > 0 else values
        skip -= len(values)
        if turn is None:
            for payload in fresh:
                log.append(payload)
        elif fresh:
            template = templates.of(turn)
            for value in fresh:
                log.append_token(template, value)


def revive(
    session_id: str, copy: Copy, log: CopiedLog, config: Config, pool: Pool, copier: Copier, ttl: float
) -> Journal:
    """The session, at its writer. Turns whose process has died end with `turn_lost`."""
    record = copy.record
    log.begin_behind(record.start)
    templates = Templates(session_id)
    first = True
    for batch in copy.log:
        if first:
            # The oldest batch may begin before what is still held.
            log.begin_behind(batch.last - sum(len(piece.values) for piece in batch.pieces))
            first = False
        append(log, templates, batch)
    log.durable = log.head
    session = Session(config, record.user, pool, log)
    session.id = session_id
    session.token_digest = record.token_digest
    session.begins = record.begins
    session.last_turn = record.last_turn
    memory = session.memory
    memory.state.saved = copy.facts.get("state", memory.state.saved)
    memory.taken = _taken(copy)
    for entry in copy.history:
        memory.history.add(Said.unpacked(entry))
    journal = Journal(session, log, copier, ttl, record.fence)
    journal.restored(copy.unfinished)
    _end_lost(session, copy)
    return journal


def _taken(copy: Copy) -> dict[str, int]:
    pairs = [envelope.decode_value(value) for name, value in copy.facts.items() if name.startswith("id")]
    return dict(sorted(pairs, key=lambda pair: pair[1]))


def _end_lost(session: Session, copy: Copy) -> None:
    history = session.history
    for number, entry in sorted(copy.unfinished.items()):
        data = {"code": "turn_lost", "message": _LOST, "retryable": True, "final": True}
        ref = envelope.decode_value(entry)["ref"]
        if ref is not None:
            data["ref"] = ref
        session.publish("error", data, number)
        if history.last is not None and history.last.turn == number:
            text, complete = _shown(number, copy.log, begins_before=copy.record.start == 0)
            history.add(Said(number, "assistant", text, "failed", not complete))


def _shown(turn: int, log: Iterable[Batch], *, begins_before: bool) -> tuple[bytes, bool]:
    """The JSON of the text of a turn as far as the log has it, and whether that is all of it."""
    values: list[bytes] = []
    complete = begins_before
    for batch in log:
        for piece in batch.pieces:
            if piece.turn == turn:
                values += piece.values
            elif piece.turn is None:
                for payload in piece.values:
                    event = envelope.decode_value(payload)
                    if event.get("turn") == turn:
                        if event["event"] == "start":
                            complete = True
                        elif event["event"] == "reset" and event["data"].get("channel") == "answer":
                            values.clear()
                            complete = True
    return b'"' + b"".join(values) + b'"', complete
