"""Somebody who has opened a session, and the turn that answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chat.person import Person, person

if TYPE_CHECKING:
    from wsserver.chat.turn import Turn


@pytest.fixture
def somebody() -> Person:
    return person(user="ada")


@pytest.fixture
def turn(somebody: Person) -> Turn:
    """A turn that has begun; its start has been seen."""
    turn = somebody.asks("hello", "m1")
    somebody.told()
    assert somebody.shown == ["1 1 start ref=m1"]
    return turn
