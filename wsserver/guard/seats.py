"""Who holds which connections: open sockets by peer address, admitted connections in all, by address and by user.

A socket takes its seat when it is accepted, and the seat takes more as more is known of it. Whatever way it goes out,
`leave` gives all of it back.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import HandshakeError
from .limits import Counts, Rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Config

#: Open sockets of one address for each connection that it may have: the others shake hands or are being refused.
_SOCKETS_PER_CONNECTION = 2

#: Sockets of one address each second for each handshake that it may begin: a page and its files come before it.
_SOCKETS_PER_HANDSHAKE = 8

#: Seconds after which a client may try again where a limit is only reached, not passed in haste.
_RETRY_AFTER = 5


class Owner(NamedTuple):
    """Who answers for what a connection leaves behind."""

    kind: Literal["user", "address"]
    name: str


#: Made once for all messages of its sessions, as long as it is in use.
_owner = lru_cache(2**12)(Owner)


class Seats:
    """All seats of a server, by the limits of `config`."""

    def __init__(self, config: Config) -> None:
        self.sockets = Counts(config.max_connections_per_ip * _SOCKETS_PER_CONNECTION)
        self.connections = Counts(config.max_connections)
        self.addresses = Counts(config.max_connections_per_ip)
        self.users = Counts(config.max_connections_per_user)
        self.handshakes = Rates(config.handshake_rate)
        self.arrivals = Rates(config.handshake_rate * _SOCKETS_PER_HANDSHAKE)

    def sit(self, address: str | None, now: float) -> Seat | None:
        """A seat for a socket that was just accepted from `address`, None for no network address.

        None where this address has too many, or opens them too fast: it gets no answer.
        """
        if address is not None and (self.arrivals.take(address, now) or not self.sockets.take(address)):
            return None
        return Seat(self, address)


class Seat:
    """What one socket holds. It takes nothing twice, and nothing once it has left."""

    __slots__ = (
        "_admitted",
        "_former",
        "_give_back",
        "_left",
        "_older",
        "_promised",
        "_seats",
        "_socket",
        "_user",
        "address",
    )

    def __init__(self, seats: Seats, address: str | None) -> None:
        self._seats = seats
        self._socket = address
        self.address: str | None = None  # of the client, as limits see it; known for good once it was admitted
        self._user: str | None = None
        self._admitted = False
        self._former: Owner | None = None  # once it was vacated
        self._left = False
        self._older: Seat | None = None  # whose place it is to get
        self._promised = False  # its place, to another one
        self._give_back: Callable[[], None] | None = None  # what it holds elsewhere

    def admit(self, address: str | None, now: float, older: Callable[[], Seat | None] | None = None) -> None:
        """A well-formed handshake has come from the client at `address`. Raises `HandshakeError` 429 or 503.

        Where a limit is reached, `older` tells which connection of this address it says it is to take over, if it does:
        then it is promised that one's place, as nobody else is meanwhile, and has none before it is settled.
        """
        if self._admitted or self._left or self._older is not None:
            return
        if address is not None:
            wait = self._seats.handshakes.take(address, now)
            if wait:
                raise _too_many("too many handshakes from your address", wait, "rate")
        refusal = self._take(address)
        if refusal is not None:
            seat = older() if older is not None else None
            if seat is None or seat.address != address or seat._promised or not seat._admitted:
                raise refusal
            seat._promised, self._older = True, seat
            self.address = address

    def _take(self, address: str | None) -> HandshakeError | None:
        seats = self._seats
        if not seats.connections.take(None):
            return HandshakeError(503, "the server is full", [("Retry-After", str(_RETRY_AFTER))], reason="full")
        if address is not None and not seats.addresses.take(address):
            seats.connections.release(None)
            return too_many("address")
        self.address = address
        self._admitted = True
        return None

    def settle(self) -> None:
        """It is known by now whether it takes over: whose place it was promised has been vacated, or keeps it.

        Raises `HandshakeError` 429 or 503 where there is none for it.
        """
        if self._older is not None and not self._left:
            self._forgo()
            refusal = self._take(self.address)
            if refusal is not None:
                raise refusal

    def _forgo(self) -> None:
        if self._older is not None:
            self._older._promised = False
            self._older = None

    def admit_user(self, user: str) -> None:
        """The client is this user. Raises `HandshakeError` 429."""
        # The socket may have gone while the application said who this is.
        if user == self._user or self._left:
            return
        assert self._user is None, "a connection has one user"
        if not self._seats.users.take(user):
            raise too_many("user")
        self._user = user

    @property
    def user(self) -> str | None:
        """The user, as far as it holds a place of theirs."""
        return self._user

    def share(self, give_back: Callable[[], None]) -> None:
        """It holds something elsewhere too, which `give_back` gives back; now, where it has left meanwhile."""
        if self._admitted:
            self._give_back = give_back
        else:
            give_back()

    @property
    def owner(self) -> Owner | None:
        """The user, or else the address; None on a UNIX socket without users. It stays so when it is vacated."""
        if self._user is not None:
            return _owner("user", self._user)
        if not self._admitted:
            return self._former
        return _owner("address", self.address) if self.address is not None else None

    def owner_with(self, user: str | None) -> Owner | None:
        """The owner, once it is settled and `user` has been admitted, None for nobody."""
        if user is not None:
            return _owner("user", user)
        return _owner("address", self.address) if self.address is not None else None

    @property
    def is_vacated(self) -> bool:
        """Whether an admitted connection has given back what it held."""
        return not self._admitted

    def vacate(self) -> None:
        """Gives back what an admitted connection holds; what is left is a socket that is about to end."""
        seats = self._seats
        self._forgo()
        if self._admitted:
            self._former = self.owner
            self._admitted = False
            seats.connections.release(None)
            if self.address is not None:
                seats.addresses.release(self.address)
        if self._user is not None:
            seats.users.release(self._user)
            self._user = None
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back()

    def leave(self) -> None:
        """Gives all of it back: the socket is gone."""
        self.vacate()
        self._left = True
        if self._socket is not None:
            self._seats.sockets.release(self._socket)
            self._socket = None


def too_many(kind: str) -> HandshakeError:
    """What a connection more of an "address", or a "user", is told."""
    text = "too many connections of this user" if kind == "user" else "too many connections from your address"
    return _too_many(text, _RETRY_AFTER, kind)


def _too_many(text: str, wait: float, reason: str) -> HandshakeError:
    return HandshakeError(429, text, [("Retry-After", str(ceil(wait)))], reason=reason)
