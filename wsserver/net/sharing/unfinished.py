"""The turns of a session that the store has, or is to have, as open: taken, and without a final event.

Whoever takes the session over knows by them what the person waits for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...chat import envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...chat.turn import Turn
    from ...store.port import Write

#: Ids of messages are stored in so many places, one of which is written with each message.
ID_PLACES = 256


@dataclass(slots=True)
class _Open:
    """A turn whose final event is not stored; `turn` is None where no more than this is needed of it."""

    turn: Turn | None
    ref: str | None
    entry: bytes
    stored: bool

    @property
    def over(self) -> bool:
        return self.turn is None or self.turn.over


class Unfinished:
    """All of one session, by their numbers."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: dict[int, _Open] = {}

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def all_stored(self) -> bool:
        """Whether the store knows of each."""
        return all(one.stored for one in self._turns.values())

    def restored(self, found: Mapping[int, bytes]) -> None:
        """The store has these; they have ended with the process that ran them."""
        self._turns = {number: _Open(None, None, entry, True) for number, entry in found.items()}

    def accept(self, turn: Turn, under_way: Write | None) -> None:
        """A message was taken. `under_way` is what is being written, or perhaps was."""
        self._forget(under_way)
        entry = envelope.encode_kept({"ref": turn.ref, "content": envelope.as_json(turn.said)})
        self._turns[turn.id] = _Open(turn, turn.ref, entry, False)

    def _forget(self, under_way: Write | None) -> None:
        """Of what is over the id is enough, and of more ids than there are places for the oldest go.

        While the store is out of reach turns come and go, and nothing takes them away from here.
        """
        told = {*under_way.accepted, *under_way.finished} if under_way is not None else ()
        surplus = len(self._turns) - ID_PLACES
        for number, one in tuple(self._turns.items()):
            if one.over:
                one.turn, one.entry = None, b""
                if surplus > 0 and not one.stored and number not in told:
                    del self._turns[number]
                    surplus -= 1

    def tell(self, write: Write, last_turn: int, *, anew: bool) -> None:
        """What of them is to be written, or with `anew` all."""
        write.finished = [number for number, one in self._turns.items() if one.over]
        for number, one in self._turns.items():
            if not one.over and (anew or not one.stored):
                write.accepted[number] = one.entry
            if not one.stored:
                write.last_turn = last_turn
                if one.ref is not None:
                    write.facts[place(number)] = envelope.encode_kept([one.ref, number])

    def told(self, write: Write) -> None:
        """It was written."""
        for number in write.finished:
            del self._turns[number]
        for number in write.accepted:
            self._turns[number].stored = True


def place(number: int) -> str:
    """The fact that holds the id of the message of this turn."""
    return f"id{number % ID_PLACES}"
