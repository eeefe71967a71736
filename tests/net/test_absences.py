"""How many sessions may wait for their clients, and which has to go."""

from __future__ import annotations

from typing import Any

from wsserver import Config
from wsserver.chat.session import Session
from wsserver.guard.seats import Owner
from wsserver.net.absences import Absence, Absences

ADA, EVE = Owner("user", "ada"), Owner("user", "eve")
SOMEWHERE = Owner("address", "192.0.2.1")


class Waiting:
    """Notes whose time is up."""

    def __init__(self) -> None:
        self.over: list[Absence] = []

    def expired(self, absence: Absence) -> None:
        self.over.append(absence)


def absent(owner: Owner | None, waiting: Waiting | None = None) -> Absence:
    return Absence(Session(Config()), owner, waiting or Waiting())


def filled(*owners: Owner | None, **settings: Any) -> tuple[Absences, list[Absence]]:
    absences, members = Absences(Config(**settings)), [absent(owner) for owner in owners]
    for member in members:
        absences.add(member)
    return absences, members


def test_the_longest_of_all_has_to_go() -> None:
    absences, members = filled(ADA, EVE, None, max_connections=3)
    assert absences.surplus(SOMEWHERE) is members[0]
    absences.remove(members[0])
    assert absences.surplus(SOMEWHERE) is None


def test_the_longest_of_ones_own_has_to_go() -> None:
    absences, members = filled(EVE, ADA, ADA, max_connections_per_user=2)
    assert absences.surplus(ADA) is members[1]
    assert (absences.surplus(EVE), absences.surplus(None)) == (None, None)
    absences.remove(members[1])
    assert absences.surplus(ADA) is None


def test_an_address_has_a_limit_of_its_own() -> None:
    absences, members = filled(SOMEWHERE, ADA, max_connections_per_ip=1, max_connections_per_user=2)
    assert (absences.surplus(SOMEWHERE), absences.surplus(ADA)) == (members[0], None)


def test_zero_is_no_limit() -> None:
    absences, _ = filled(*[ADA] * 50, max_connections=0, max_connections_per_user=0)
    assert absences.surplus(ADA) is None


def test_nothing_is_kept_of_an_owner_of_whom_none_waits() -> None:
    absences, members = filled(ADA, EVE, ADA)
    for member in absences:  # changes meanwhile are allowed
        absences.remove(member)
    assert (len(absences), list(absences), absences._of) == (0, [], {})
    assert len(members) == 3


def test_the_sweeper_tells_whose_time_is_up_once() -> None:
    waiting = Waiting()
    absence = absent(ADA, waiting)
    assert absence.visit(7.0) == float("inf")
    assert waiting.over == [absence]
