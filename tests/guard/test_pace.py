"""How fast clients may be."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from wsserver.config import Config, MiB
from wsserver.guard.limits import BURST
from wsserver.guard.pace import Pace
from wsserver.guard.seats import Owner

ADA, BOB = Owner("user", "ada"), Owner("user", "bob")
HERE, THERE = Owner("address", "192.0.2.7"), Owner("address", "ada")


class Somebody:
    """A session as its rates see it."""

    def __init__(self, name: str = "s") -> None:
        self.id = name
        self.bytes_until = 0.0
        self.messages_until = 0.0


class Limits(Pace):
    """As those ask who have no account at hand, each message in a session of its own unless one is given."""

    def say(self, owner: Owner | None, now: float, session: Somebody | None = None) -> float:
        return self.message(session or Somebody(), self.account(owner, now), now)

    def read(self, session: Somebody, owner: Owner | None, size: int, now: float) -> float:
        return self.received(session, self.account(owner, now), size, now)


def pace(**settings: Any) -> Limits:
    return Limits(Config(**settings))


class TestMessagesOfASession:
    def test_four_seconds_at_once_then_a_warning_then_the_end(self) -> None:
        limits, session = pace(message_rate=1), Somebody()
        waits = [limits.say(None, 0.0, session) for _ in range(10)]
        assert waits == [0, 0, 0, 0, *map(pytest.approx, (1, 2, 3, 4)), inf, inf]

    def test_what_is_refused_counts_too(self) -> None:
        """Who goes on gets nowhere; who waits as told is heard."""
        limits, session = pace(message_rate=1), Somebody()
        for _ in range(6):
            limits.say(HERE, 0.0, session)
        assert limits.say(HERE, 1.0, session) == pytest.approx(2)
        assert limits.say(HERE, 4.0 + limits.interval, session) == 0

    def test_of_its_owner_it_uses_nothing_where_it_is_refused(self) -> None:
        limits, session = pace(message_rate=1, max_connections_per_ip=4), Somebody()
        for _ in range(100):
            limits.say(HERE, 0.0, session)
        assert [limits.say(HERE, 0.0) for _ in range(12)] == [0] * 12

    def test_the_slowest_rate_lets_one_come(self) -> None:
        limits, session = pace(message_rate=0.1), Somebody()
        assert limits.interval == 10
        assert [limits.say(None, now, session) for now in (0.0, 0.0, 20.0)] == [0, pytest.approx(10), 0]

    def test_0_is_no_limit(self) -> None:
        limits, session = pace(message_rate=0), Somebody()
        assert {limits.say(HERE, 0.0, session) for _ in range(1000)} == {0}


class TestMessagesOfAnOwner:
    @pytest.mark.parametrize("owner", [ADA, HERE])
    def test_of_one_owner(self, owner: Owner) -> None:
        """As many as all its connections may send together, whatever its sessions."""
        limits = pace(message_rate=1, max_connections_per_ip=4, max_connections_per_user=4)
        at_once = int(4 * BURST)
        assert [limits.say(owner, 0.0) for _ in range(at_once)] == [0] * at_once
        assert limits.say(owner, 0.0) == pytest.approx(0.25)
        assert limits.say(owner, 0.25) == 0

    def test_what_is_refused_uses_nothing(self) -> None:
        """So nobody can keep those who share an address with him from speaking for long."""
        limits = pace(message_rate=1, max_connections_per_ip=4)
        for _ in range(1000):
            limits.say(HERE, 0.0)
        assert limits.say(HERE, 0.25) == 0

    def test_owners_do_not_disturb_each_other(self) -> None:
        limits = pace(message_rate=1)
        while not limits.say(ADA, 0.0):
            pass
        assert [limits.say(other, 0.0) for other in (BOB, HERE, THERE, None)] == [0] * 4

    def test_no_owner_no_limit(self) -> None:
        limits = pace(message_rate=1)
        assert {limits.say(None, 0.0) for _ in range(1000)} == {0}

    @pytest.mark.parametrize(
        ("owner", "setting"), [(ADA, "max_connections_per_user"), (HERE, "max_connections_per_ip")]
    )
    def test_an_owner_that_stands_for_anybody_has_none(self, owner: Owner, setting: str) -> None:
        limits = pace(message_rate=1, byte_rate=1, **{setting: 0})
        assert {limits.say(owner, 0.0) for _ in range(1000)} == {0}
        assert limits.read(Somebody(), owner, 4, 0.0) == 0
        assert limits.read(Somebody(), owner, 4, 0.0) == 0

    def test_0_is_no_limit(self) -> None:
        limits = pace(message_rate=0, byte_rate=0)
        assert {limits.say(ADA, 0.0) for _ in range(1000)} == {0}
        assert limits.read(Somebody(), ADA, 2**40, 0.0) == 0


class TestBytes:
    def test_of_one_session(self) -> None:
        limits, session = pace(), Somebody()
        assert limits.read(session, None, 4 * MiB, 0.0) == 0
        assert limits.read(session, None, MiB, 0.0) == pytest.approx(1.0)
        assert limits.read(session, None, MiB, 1.0) == pytest.approx(1.0)
        assert limits.read(Somebody(), None, MiB, 0.0) == 0

    def test_they_outlive_the_connection(self) -> None:
        limits, session = pace(), Somebody()
        limits.read(session, HERE, 8 * MiB, 0.0)
        assert limits.read(session, THERE, 1, 0.0) >= 4

    @pytest.mark.parametrize("owner", [ADA, HERE])
    def test_of_one_owner(self, owner: Owner) -> None:
        """A new session each time gains nothing."""
        limits = pace()
        assert [limits.read(Somebody(), owner, 4 * MiB, 0.0) for _ in range(4)] == [0] * 4
        assert limits.read(Somebody(), owner, 4 * MiB, 0.0) == pytest.approx(1.0)
        assert limits.read(Somebody(), BOB, 4 * MiB, 0.0) == 0

    def test_of_an_owner_with_few_sessions(self) -> None:
        assert pace(max_connections_per_ip=1).read(Somebody(), HERE, 5 * MiB, 0.0) == pytest.approx(1.0)


class TestMistakes:
    def test_thirty_at_once_and_one_a_second(self) -> None:
        limits, session = pace(), Somebody()
        assert not any(limits.mistake(session, 0.0) for _ in range(30))
        assert limits.mistake(session, 0.0)
        assert not limits.mistake(Somebody("t"), 0.0)

    def test_who_makes_few_makes_them_for_ever(self) -> None:
        limits, session = pace(), Somebody()
        assert not any(limits.mistake(session, float(second)) for second in range(1000))


class TestAccounts:
    def test_nothing_is_kept_of_those_who_are_slow(self) -> None:
        limits = pace()
        for number in range(20_000):
            owner, session = Owner("address", f"2001:db8:{number:x}::/64"), Somebody(f"s{number}")
            limits.say(owner, number, session)
            limits.read(session, owner, 100, number)
            limits.mistake(session, number * 100.0)
        assert len(limits._accounts) <= 1024
        assert len(limits._errors) <= 1024

    @pytest.mark.parametrize("what", ["messages", "bytes"])
    def test_who_was_fast_is_remembered_among_many(self, what: str) -> None:
        limits = pace()

        def wait() -> float:
            return limits.say(ADA, 0.0) if what == "messages" else limits.read(Somebody(), ADA, 0, 0.0)

        account = limits.account(ADA, 0.0)
        while not limits.say(ADA, 0.0) and not limits.read(Somebody(), ADA, MiB, 0.0):
            pass
        before = wait()
        for number in range(5000):
            limits.account(Owner("user", f"u{number}"), 0.0)
        assert (limits.account(ADA, 0.0), account.dropped) == (account, False)
        assert wait() == before

    def test_one_at_hand_says_that_it_was_dropped(self) -> None:
        """Else its owner would have two, each with rates of its own."""
        limits = pace()
        account = limits.account(ADA, 0.0)
        for number in range(1024):
            assert limits.account(ADA, 0.0) is account
            limits.account(Owner("user", f"u{number}"), 0.0)
        assert account.dropped
        assert limits.account(ADA, 0.0) is not account
