"""Turns that the store has, or is to have, as open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsserver import Config
from wsserver.chat import envelope
from wsserver.chat.events import Message
from wsserver.chat.session import Session
from wsserver.net.sharing.unfinished import ID_PLACES, Unfinished, place
from wsserver.store.port import Write

if TYPE_CHECKING:
    from wsserver.chat.turn import Turn

CONTENT = "x" * 10_000


def taken(session: Session, turns: Unfinished, number: int, under_way: Write | None = None) -> Turn:
    """A message that was taken, and whose turn runs."""
    turn = session.take(Message(CONTENT, f"m{number}"))
    assert turn is not None
    turns.accept(turn, under_way)
    session.next_turn()
    return turn


def over(session: Session, turn: Turn) -> None:
    turn.complete("completed")
    session.turn = None


def told(turns: Unfinished, session: Session, *, anew: bool = False) -> Write:
    write = Write(session.id, 1, 1, 60.0)
    turns.tell(write, session.last_turn, anew=anew)
    return write


def test_a_turn_is_told_when_it_is_taken_and_when_it_is_over() -> None:
    session, turns = Session(Config()), Unfinished()
    turn = taken(session, turns, 1)
    write = told(turns, session)
    entry = envelope.decode_value(write.accepted[1])
    assert entry == {"ref": "m1", "content": CONTENT}
    assert (write.finished, write.last_turn) == ([], 1)
    assert envelope.decode_value(write.facts[place(1)]) == ["m1", 1]
    assert not turns.all_stored
    turns.told(write)
    assert turns.all_stored
    again = told(turns, session)
    assert (again.accepted, again.facts, again.last_turn) == ({}, {}, None)
    assert told(turns, session, anew=True).accepted == write.accepted
    over(session, turn)
    last = told(turns, session, anew=True)
    assert (last.accepted, last.finished) == ({}, [1])
    turns.told(last)
    assert len(turns) == 0


def test_turns_that_come_and_go_while_nothing_is_stored_take_no_more_than_their_ids() -> None:
    session, turns = Session(Config()), Unfinished()
    for number in range(1, 1001):
        turn = taken(session, turns, number)
        over(session, turn)
    assert len(turns) <= ID_PLACES + 1
    kept = [one for one in turns._turns.values() if one.entry or one.turn is not None]
    assert len(kept) == 1, "the last one"
    write = told(turns, session)
    assert (write.last_turn, write.accepted) == (1000, {})
    assert {envelope.decode_value(value)[1] for value in write.facts.values()} == set(range(1001 - ID_PLACES, 1001))
    turns.told(write)
    assert len(turns) == 0


def test_what_a_write_has_told_stays_until_that_is_known_to_be_done() -> None:
    session, turns = Session(Config()), Unfinished()
    first = taken(session, turns, 1)
    over(session, first)
    second = taken(session, turns, 2)
    under_way = told(turns, session)
    assert (under_way.finished, list(under_way.accepted)) == ([1], [2])
    over(session, second)
    for number in range(3, 1001):
        over(session, taken(session, turns, number, under_way))
    turns.told(under_way)
    assert 2 in told(turns, session).finished
