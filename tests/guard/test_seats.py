"""Who holds which connections, and that all of it comes back."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wsserver.config import Config
from wsserver.errors import HandshakeError
from wsserver.guard.seats import Owner, Seat, Seats


def seats_of(**limits: Any) -> Seats:
    return Seats(Config(**limits))


def seated(seats: Seats, address: str | None = "a") -> Seat:
    seat = seats.sit(address, 0.0)
    assert seat is not None
    return seat


def admitted(seats: Seats, address: str | None = "a", user: str | None = None) -> Seat:
    seat = seated(seats, address)
    seat.admit(address, 0.0)
    if user is not None:
        seat.admit_user(user)
    return seat


def held(seats: Seats) -> tuple[int, int, int, int]:
    """Sockets of address a, connections in all, connections of address a, connections of ada."""
    return seats.sockets["a"], seats.connections[None], seats.addresses["a"], seats.users["ada"]


def refusal(seat: Seat, address: str | None = "a", now: float = 0.0) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        seat.admit(address, now)
    return caught.value


class TestSitting:
    def test_an_address_has_twice_as_many_sockets_as_connections(self) -> None:
        seats = seats_of(max_connections_per_ip=2)
        taken = [seats.sit("a", 0.0) for _ in range(5)]
        assert [seat is not None for seat in taken] == [True, True, True, True, False]
        assert seats.sit("b", 0.0) is not None

    def test_a_socket_without_an_address_is_not_counted(self) -> None:
        seats = seats_of(max_connections_per_ip=1)
        for _ in range(10):
            seated(seats, None).leave()
            admitted(seats, None)
        assert (len(seats.sockets), len(seats.addresses), seats.connections[None]) == (0, 0, 10)

    def test_who_comes_and_goes_faster_than_a_page_needs_is_cut(self) -> None:
        """Eight sockets for each handshake of the rate, four seconds' worth at once; who is cut uses nothing."""
        seats = seats_of(handshake_rate=2)
        for _ in range(64):
            seated(seats).leave()
        assert [seats.sit("a", now) for now in (0.0, 0.0, 0.05)] == [None] * 3
        assert len(seats.sockets) == 0
        assert seats.sit("b", 0.0) is not None
        assert seats.sit("a", 0.07) is not None

    def test_who_leaves_makes_room(self) -> None:
        seats = seats_of(max_connections_per_ip=1)
        first = seated(seats)
        seated(seats)
        assert seats.sit("a", 0.0) is None
        first.leave()
        first.leave()
        assert held(seats) == (1, 0, 0, 0)
        assert seats.sit("a", 0.0) is not None


class TestTakingOver:
    """A connection that comes to take over an older one, where the limit is reached."""

    def full(self) -> tuple[Seats, Seat]:
        seats = seats_of(max_connections_per_ip=1)
        return seats, admitted(seats)

    def test_gets_its_place_once_that_is_vacated(self) -> None:
        seats, older = self.full()
        newer = seated(seats)
        newer.admit("a", 0.0, lambda: older)
        assert held(seats) == (2, 1, 1, 0)
        assert newer.owner is None
        older.vacate()
        newer.settle()
        newer.settle()
        assert held(seats) == (2, 1, 1, 0)
        assert newer.owner == Owner("address", "a")
        older.leave()
        newer.leave()
        assert held(seats) == (0, 0, 0, 0)

    def test_gets_none_where_it_is_not(self) -> None:
        seats, older = self.full()
        newer = seated(seats)
        newer.admit("a", 0.0, lambda: older)
        with pytest.raises(HandshakeError, match="too many connections from your address"):
            newer.settle()
        assert held(seats) == (2, 1, 1, 0)

    def test_one_place_is_promised_once(self) -> None:
        seats = seats_of(max_connections_per_ip=2)
        older = admitted(seats)
        admitted(seats)
        newer, another = seated(seats), seated(seats)
        newer.admit("a", 0.0, lambda: older)
        newer.admit("a", 0.0, lambda: older)
        with pytest.raises(HandshakeError):
            another.admit("a", 0.0, lambda: older)
        newer.leave()
        another.admit("a", 0.0, lambda: older)
        another.leave()
        another.settle()
        assert held(seats) == (2, 2, 2, 0)

    @pytest.mark.parametrize("place", ["of nobody", "elsewhere", "left"])
    def test_there_must_be_a_place_of_its_own_address(self, place: str) -> None:
        seats, older = self.full()
        elsewhere = admitted(seats, "b")
        left = seated(seats)
        left.leave()
        newer = seated(seats)
        found = {"of nobody": None, "elsewhere": elsewhere, "left": left}[place]
        with pytest.raises(HandshakeError):
            newer.admit("a", 0.0, lambda: found)
        assert held(seats)[1:] == (2, 1, 0)

    def test_nobody_is_looked_for_as_long_as_there_is_room(self) -> None:
        seats = seats_of(max_connections_per_ip=1)
        seated(seats).admit("a", 0.0, lambda: pytest.fail("there is room"))


class TestAdmission:
    def test_takes_more_as_more_is_known(self) -> None:
        seats = seats_of()
        seat = seated(seats)
        assert held(seats) == (1, 0, 0, 0)
        seat.admit("a", 0.0)
        assert held(seats) == (1, 1, 1, 0)
        seat.admit_user("ada")
        assert held(seats) == (1, 1, 1, 1)
        seat.vacate()
        assert held(seats) == (1, 0, 0, 0)
        seat.leave()
        assert held(seats) == (0, 0, 0, 0)

    def test_the_client_may_have_another_address_than_the_socket(self) -> None:
        seats = seats_of()
        seat = seated(seats, "proxy")
        seat.admit("a", 0.0)
        assert (seats.sockets["proxy"], seats.addresses["a"], seats.addresses["proxy"]) == (1, 1, 0)
        seat.leave()
        assert (len(seats.sockets), len(seats.addresses)) == (0, 0)

    def test_a_full_server(self) -> None:
        seats = seats_of(max_connections=1)
        admitted(seats)
        late = seated(seats, "b")
        error = refusal(late, "b")
        assert (error.status, error.message, error.headers) == (503, "the server is full", (("Retry-After", "5"),))
        assert (seats.connections[None], seats.addresses["b"]) == (1, 0)

    def test_too_many_of_one_address(self) -> None:
        seats = seats_of(max_connections_per_ip=1)
        first = admitted(seats)
        late = seated(seats)
        for _ in range(2):
            error = refusal(late)
            assert (error.status, error.message) == (429, "too many connections from your address")
            assert error.headers == (("Retry-After", "5"),)
            assert held(seats) == (2, 1, 1, 0)
        first.leave()
        late.admit("a", 0.0)
        assert held(seats) == (1, 1, 1, 0)

    def test_too_fast_from_one_address(self) -> None:
        seats = seats_of(handshake_rate=0.5, max_connections_per_ip=0)
        for _ in range(2):
            admitted(seats)
        error = refusal(seated(seats))
        assert (error.status, error.message) == (429, "too many handshakes from your address")
        assert error.headers == (("Retry-After", "2"),)
        assert refusal(seated(seats), now=0.5).headers == (("Retry-After", "2"),)
        assert refusal(seated(seats), now=1.9).headers == (("Retry-After", "1"),)
        assert held(seats) == (5, 2, 2, 0)
        seated(seats).admit("a", 2.0)

    def test_who_has_no_address_is_never_too_fast(self) -> None:
        seats = seats_of(handshake_rate=0.5)
        for _ in range(10):
            admitted(seats, None)

    def test_too_many_of_one_user(self) -> None:
        seats = seats_of(max_connections_per_user=1)
        first = admitted(seats, "a", "ada")
        late = admitted(seats, "b")
        with pytest.raises(HandshakeError, match="too many connections of this user") as caught:
            late.admit_user("ada")
        assert (caught.value.status, caught.value.headers) == (429, (("Retry-After", "5"),))
        late.leave()
        assert held(seats) == (1, 1, 1, 1)
        first.leave()
        admitted(seats, "b", "ada")
        assert seats.users["ada"] == 1

    def test_nothing_is_taken_twice(self) -> None:
        seats = seats_of()
        seat = admitted(seats, "a", "ada")
        seat.admit("a", 0.0)
        seat.admit_user("ada")
        assert held(seats) == (1, 1, 1, 1)
        seat.vacate()
        seat.vacate()
        assert held(seats) == (1, 0, 0, 0)

    def test_who_has_left_takes_nothing_more(self) -> None:
        # An application that is asked who this is may answer, cancelled or not, when the socket is gone.
        seats = seats_of()
        seat = admitted(seats)
        seat.leave()
        seat.admit("a", 0.0)
        seat.admit_user("ada")
        assert held(seats) == (0, 0, 0, 0)


class TestOwner:
    def test_is_the_user_or_else_the_address(self) -> None:
        seats = seats_of()
        assert admitted(seats, "a", "ada").owner == Owner("user", "ada")
        assert admitted(seats, None, "ada").owner == Owner("user", "ada")
        assert admitted(seats, "a").owner == Owner("address", "a")
        assert admitted(seats, None).owner is None

    def test_a_user_who_is_called_like_an_address_is_another_one(self) -> None:
        seats = seats_of()
        assert admitted(seats, "a", "a").owner != admitted(seats, "a").owner

    def test_it_is_known_before_the_user_is_let_in(self) -> None:
        seats = seats_of()
        for address, user in (("a", "ada"), (None, "ada"), ("a", None), (None, None)):
            seat = admitted(seats, address)
            owner = seat.owner_with(user)
            if user is not None:
                seat.admit_user(user)
            assert seat.owner == owner

    def test_nobody_answers_for_a_socket_that_was_not_let_in(self) -> None:
        seat = seated(seats_of())
        assert seat.owner is None
        seat.admit("a", 0.0)
        assert seat.owner == Owner("address", "a")
        # What it leaves behind it leaves behind when its place is another one's already.
        seat.vacate()
        assert seat.owner == Owner("address", "a")
        assert seat.is_vacated


ADDRESSES = st.sampled_from(["a", "b", None])
LIMITS = {"max_connections": 4, "max_connections_per_ip": 2, "max_connections_per_user": 2}


class SeatsMachine(RuleBasedStateMachine):
    """Sockets come, are admitted, refused and go in any order; the model is what each one holds."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = seats_of(**LIMITS, handshake_rate=0.0)
        self.everybody: list[tuple[Seat, str | None, str]] = []  # with its address and its user
        self.users: dict[int, str] = {}
        self.gone: set[int] = set()
        self.inside: dict[int, str | None] = {}  # address of each who is admitted

    @rule(address=ADDRESSES, user=st.sampled_from(["ada", "bob"]))
    def sit(self, address: str | None, user: str) -> None:
        seat = self.seats.sit(address, 0.0)
        there = sum(other == address for number, (_, other, _) in self.present())
        assert (seat is None) == (address is not None and there >= 4)
        if seat is not None:
            self.everybody.append((seat, address, user))

    @rule(data=st.data(), address=ADDRESSES)
    def admit(self, data: st.DataObject, address: str | None) -> None:
        number, seat, _ = self.somebody(data)
        with suppress(HandshakeError):
            seat.admit(address, 0.0)
            if number not in self.gone:
                self.inside.setdefault(number, address)

    @rule(data=st.data())
    def admit_user(self, data: st.DataObject) -> None:
        number, seat, user = self.somebody(data)
        with suppress(HandshakeError):
            seat.admit_user(user)
            if number not in self.gone:
                self.users[number] = user

    @rule(data=st.data())
    def vacate(self, data: st.DataObject) -> None:
        number, seat, _ = self.somebody(data)
        seat.vacate()
        self.inside.pop(number, None)
        self.users.pop(number, None)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number, seat, _ = self.somebody(data)
        seat.leave()
        self.gone.add(number)
        self.inside.pop(number, None)
        self.users.pop(number, None)

    @invariant()
    def each_count_is_the_sum_of_what_the_seats_hold(self) -> None:
        seats = self.seats
        addresses = Counter(address for address in self.inside.values() if address is not None)
        sockets = Counter(address for _, (_, address, _) in self.present() if address is not None)
        users = Counter(self.users.values())
        assert seats.connections[None] == len(self.inside) <= LIMITS["max_connections"]
        for counts, expected, limit in [
            (seats.addresses, addresses, LIMITS["max_connections_per_ip"]),
            (seats.sockets, sockets, 2 * LIMITS["max_connections_per_ip"]),
            (seats.users, users, LIMITS["max_connections_per_user"]),
        ]:
            assert len(counts) == len(expected)
            for key, count in expected.items():
                assert counts[key] == count <= limit

    def teardown(self) -> None:
        for seat, _, _ in self.everybody:
            seat.leave()
        seats = self.seats
        assert [len(counts) for counts in (seats.sockets, seats.connections, seats.addresses, seats.users)] == [0] * 4

    def present(self) -> list[tuple[int, tuple[Seat, str | None, str]]]:
        return [(number, entry) for number, entry in enumerate(self.everybody) if number not in self.gone]

    def somebody(self, data: st.DataObject) -> tuple[int, Seat, str]:
        if not self.everybody:
            self.everybody.append((seated(self.seats, None), None, "ada"))
        number = data.draw(st.integers(0, len(self.everybody) - 1))
        seat, _, user = self.everybody[number]
        return number, seat, user


TestSeatsModel = SeatsMachine.TestCase
TestSeatsModel.settings = settings(deadline=None, max_examples=100, stateful_step_count=40)


class TestElsewhere:
    """What a seat holds over all instances is given back with the rest, once."""

    def test_it_is_given_back_with_the_seat(self) -> None:
        given: list[str] = []
        seat = admitted(seats_of(), user="ada")
        assert seat.user == "ada"
        seat.share(lambda: given.append("back"))
        assert given == []
        seat.vacate()
        seat.leave()
        assert given == ["back"]
        assert seat.user is None

    def test_where_it_has_left_meanwhile_it_is_given_back_at_once(self) -> None:
        given: list[str] = []
        seat = admitted(seats_of())
        seat.leave()
        seat.share(lambda: given.append("back"))
        assert given == ["back"]
