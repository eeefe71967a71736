"""A hole in the events: what came behind it is held back until the history has told what was in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ProtocolError
from ..wire.close import CloseCode
from .events import Event
from .inbox import EVENT_OVERHEAD, MiB
from .recall import recall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .inbox import Question
    from .outbox import Request

#: How many characters of events may wait for the history.
MAX_HELD = 16 * MiB


class Hole:
    """The events `first` to `last` are missing. `request` is the one for the history, `history` what came of it."""

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.data = {"from_seq": first, "seq": last}
        self.request: Request | None = None
        self.history: dict[str, Any] | None = None
        self._held: list[tuple[Event, int]] = []
        self._size = 0
        self._told: dict[int | None, Question] = {}  # by turn, those that have missed something

    def hold(self, event: Event, size: int) -> None:
        """Keeps an event that came behind the hole. Raises `ProtocolError` where that is too much."""
        self._held.append((event, size))
        self._size += size + EVENT_OVERHEAD
        if self._size > MAX_HELD:
            raise ProtocolError(CloseCode.MESSAGE_TOO_BIG, "the history does not come")

    def filled(self, seq: int) -> bool:
        """Whether the history is here, and with number `seq` all events up to where it ends."""
        return self.history is not None and seq >= _end(self.history)

    def missing(self, questions: Iterable[Question]) -> Iterator[tuple[Question, Event]]:
        """What these questions, whose turns are known, are to be told first."""
        assert self.history is not None
        begun = {event.turn for event, _ in self._held if event.name == "start"}
        ending = {event.turn for event, _ in self._held if event.final}
        for question in questions:
            turn = question.turn
            if turn not in begun and (events := recall(self.history, question, ending=turn in ending)) is not None:
                self._told[turn] = question
                for event in (Event("gap", self.data, turn), *events):
                    yield question, event

    def rest(self) -> Iterator[tuple[Event, int]]:
        """What was held back and has not been told with what was missing: the history has no tools and no sources."""
        assert self.history is not None
        end = _end(self.history)
        for event, size in self._held:
            question = self._told.get(event.turn)
            if question is None or (event.seq or 0) > end or not _is_recalled(event, question):
                yield event, size


def _end(history: dict[str, Any]) -> int:
    """The number of the last event that it knows of."""
    end = history.get("seq")
    return end if isinstance(end, int) else 0


def _is_recalled(event: Event, question: Question) -> bool:
    if event.name == "ask":
        return str(event.data.get("call_id")) in question.calls
    return event.name == "token" or (event.name == "reset" and event.data.get("channel") != "sources")
