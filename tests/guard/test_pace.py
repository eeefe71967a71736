"""How fast clients may be."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.config import Config, MiB
from wsserver.guard.limits import BURST
from wsserver.guard.pace import Pace
from wsserver.guard.seats import Owner

ADA, BOB = Owner("user", "ada"), Owner("user", "bob")
HERE, THERE = Owner("address", "192.0.2.7"), Owner("address", "ada")


def pace(**settings: Any) -> Pace:
    return Pace(Config(**settings))


class TestMessages:
    @pytest.mark.parametrize("owner", [ADA, HERE])
    def test_of_one_owner(self, owner: Owner) -> None:
        """As many as all its connections may send together, whatever its sessions."""
        limits = pace(message_rate=1, max_connections_per_ip=4, max_connections_per_user=4)
        at_once = int(4 * BURST)
        assert [limits.message(owner, 0.0) for _ in range(at_once)] == [0] * at_once
        assert limits.message(owner, 0.0) == pytest.approx(0.25)
        assert limits.message(owner, 0.25) == 0

    def test_what_is_refused_uses_nothing(self) -> None:
        """So nobody can keep those who share an address with him from speaking for long."""
        limits = pace(message_rate=1, max_connections_per_ip=4)
        for _ in range(1000):
            limits.message(HERE, 0.0)
        assert limits.message(HERE, 0.25) == 0

    def test_owners_do_not_disturb_each_other(self) -> None:
        limits = pace(message_rate=1)
        while not limits.message(ADA, 0.0):
            pass
        assert [limits.message(other, 0.0) for other in (BOB, HERE, THERE, None)] == [0] * 4

    def test_no_owner_no_limit(self) -> None:
        limits = pace(message_rate=1)
        assert {limits.message(None, 0.0) for _ in range(1000)} == {0}

    @pytest.mark.parametrize(
        ("owner", "setting"), [(ADA, "max_connections_per_user"), (HERE, "max_connections_per_ip")]
    )
    def test_an_owner_that_stands_for_anybody_has_none(self, owner: Owner, setting: str) -> None:
        limits = pace(message_rate=1, byte_rate=1, **{setting: 0})
        assert {limits.message(owner, 0.0) for _ in range(1000)} == {0}
        assert limits.received("s", owner, 4, 0.0) == 0
        assert limits.received("t", owner, 4, 0.0) == 0

    def test_0_is_no_limit(self) -> None:
        limits = pace(message_rate=0, byte_rate=0)
        assert {limits.message(ADA, 0.0) for _ in range(1000)} == {0}
        assert limits.received("s", ADA, 2**40, 0.0) == 0


class TestBytes:
    def test_of_one_session(self) -> None:
        limits = pace()
        assert limits.received("s", None, 4 * MiB, 0.0) == 0
        assert limits.received("s", None, MiB, 0.0) == pytest.approx(1.0)
        assert limits.received("s", None, MiB, 1.0) == pytest.approx(1.0)
        assert limits.received("t", None, MiB, 0.0) == 0

    def test_they_outlive_the_connection(self) -> None:
        limits = pace()
        limits.received("s", HERE, 8 * MiB, 0.0)
        assert limits.received("s", THERE, 1, 0.0) >= 4

    @pytest.mark.parametrize("owner", [ADA, HERE])
    def test_of_one_owner(self, owner: Owner) -> None:
        """A new session each time gains nothing."""
        limits = pace()
        assert pace(max_connections_per_ip=1).received("s", HERE, 5 * MiB, 0.0) == pytest.approx(1.0)
        assert [limits.received(f"s{number}", owner, 4 * MiB, 0.0) for number in range(4)] == [0] * 4
        assert limits.received("another", owner, 4 * MiB, 0.0) == pytest.approx(1.0)
        assert limits.received("of bob's", BOB, 4 * MiB, 0.0) == 0


class TestMistakes:
    def test_thirty_at_once_and_one_a_second(self) -> None:
        limits = pace()
        assert not any(limits.mistake("s", 0.0) for _ in range(30))
        assert limits.mistake("s", 0.0)
        assert not limits.mistake("t", 0.0)

    def test_who_makes_few_makes_them_for_ever(self) -> None:
        limits = pace()
        assert not any(limits.mistake("s", float(second)) for second in range(1000))


def test_nothing_is_kept_of_those_who_are_slow() -> None:
    limits = pace()
    for number in range(20_000):
        owner = Owner("address", f"2001:db8:{number:x}::/64")
        limits.message(owner, number)
        limits.received(f"s{number}", owner, 100, number)
        limits.mistake(f"s{number}", number * 100.0)
    rates = [*limits._messages.values(), *limits._owner_bytes.values(), limits._bytes, limits._errors]
    assert max(map(len, rates)) <= 1024
