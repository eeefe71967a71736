"""The opening of a connection: from its first byte to 101 or a refusal.

A request is read, judged and answered at once, unless the application has to be asked: then one task waits for it, by
the same deadline as the handshake; what the client sends meanwhile is kept, up to a bound.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, cast

from ..chat import claim
from ..config import ECHO_PATH
from ..counters import count
from ..errors import HandshakeError
from ..guard.address import limit_key
from ..wire import handshake
from ..wire.close import CloseCode
from ..wire.traceparent import parse as parse_traceparent
from . import http, refusal
from .acceptance import accept, ask, taken_over
from .connection import Connection
from .inline import run_through
from .sockets import GOING_AWAY, LONGEST_CLOSE, address_of, end_sending

if TYPE_CHECKING:
    from ..guard.proxies import Client
    from ..guard.seats import Seat
    from ..wire.handshake import Request, Upgrade
    from .arrivals import Arrival
    from .house import House
    from .sessions import Entry

logger = logging.getLogger(__name__)

#: Bytes of a client that sends before it was let in; more of them wait at the client.
_MAX_EARLY_SIZE = 2**16


class Opening(asyncio.Protocol):
    """A socket whose opening handshake is under way. It ends by handing its transport to a `Connection`.

    `is_local`: only this machine connects to where it came. `arrival` is what it was before the loop had it.
    """

    __slots__ = (
        "_address",
        "_arrival",
        "_early",
        "_ending",
        "_house",
        "_is_local",
        "_reader",
        "_seat",
        "_task",
        "_transport",
        "_upgrade",
        "due",
    )

    def __init__(self, house: House, is_local: bool, arrival: Arrival | None = None) -> None:
        self._house = house
        self._is_local = is_local
        self._arrival = arrival
        self._address: str | None = None  # the peer's, or the one that a preamble names
        self._reader = handshake.RequestReader()
        self._transport: asyncio.Transport | None = None
        self._seat: Seat | None = None
        self._task: asyncio.Task[None] | None = None  # waits for the application
        self._upgrade: Upgrade | None = None  # what a well-formed request asks for
        self._early = bytearray()  # what came while others had their turn, or while the application was asked
        self._ending = False  # refused: waits for the peer to close
        self.due = inf

    # -- called by asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._house.sockets.add(self)
        if self._arrival is not None:
            self._seat, self._address = self._arrival.hand_over()
        else:
            self._address = address_of(self._transport)
            key = self._house.door.proxies.socket_key(self._address)
            self._seat = self._house.seats.sit(key, self._house.loop.time())
        if self._seat is None:
            self._house.ledger.cut("sockets")
        # A handshake of TLS may end after the server has.
        if self._seat is None or self._house.sockets.closing:
            self._transport.abort()
        self._house.sweeper.limit(self, self._house.config.open_timeout)

    def data_received(self, data: bytes) -> None:
        if self._ending or self._seat is None:
            return
        if self._task is not None:
            self._keep(data)
        elif self._early or not self._house.turnstile.is_free:
            self._keep(data)
            self._house.turnstile.stand_in_line(self, is_new=True)
        else:
            self._read(data, self._seat)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._task is not None and not self._ending:
            # Where it was too late, it has been cancelled before: a second time would cut its clean-up short.
            self._task.cancel()
        if self._seat is not None:
            self._seat.leave()
        self._leave()

    # -- called by the turnstile, the sweeper and the server -----------------------------------------------------

    def read_on(self) -> None:
        early, self._early = self._early, bytearray()
        if self._transport is not None and self._seat is not None and not self._ending:
            self._transport.resume_reading()
            self._read(bytes(early), self._seat)

    def visit(self, now: float) -> float:
        if self._ending:
            self.close(CloseCode.ABNORMAL)
        elif self._task is not None:
            # The client has said all; it is the application that takes too long.
            self._task.cancel()
            self._refuse(
                HandshakeError(503, "this took too long, try again later", [("Retry-After", "5")], reason="slow")
            )
        else:
            self._refuse(HandshakeError(408, "the opening handshake took too long", reason="slow"))
        return inf

    def close(self, code: int, reason: str = "") -> None:
        """Nothing was promised to this peer yet."""
        if self._transport is not None:
            self._transport.abort()

    # -- decisions -----------------------------------------------------------------------------------------------

    def _read(self, data: bytes, seat: Seat) -> None:
        turnstile = self._house.turnstile
        began = turnstile.clock()
        try:
            request = self._reader.receive_data(data)
            if request is not None:
                self._answer(request, seat)
        except HandshakeError as exc:
            self._refuse(exc)
        except Exception:
            self._fail()
        turnstile.spent(turnstile.clock() - began)

    def _answer(self, request: Request, seat: Seat) -> None:
        house, path = self._house, request.path
        is_echo = house.config.echo and path == ECHO_PATH
        if not is_echo and path != house.config.path:
            if "upgrade" in request.headers:
                house.ledger.refused(HandshakeError(404, "", reason="path"))
            self._end_with(http.answer(request, house))
            return
        upgrade = self._upgrade = handshake.parse_upgrade(request)
        client = house.door.proxies.client(self._address, request.elements("x-forwarded-for"))
        asks = not is_echo and (house.on_open is not None or house.sessions.waits)
        if house.authenticate is None and not asks:
            # Nobody will be shown the request.
            run_through(self._admit(request, upgrade, seat, client, is_echo))
            return
        admission = self._admit(replace(request, client=client.address), upgrade, seat, client, is_echo)
        if self._reader.trailing_data:
            self._keep(self._reader.trailing_data)
        self._task = house.loop.create_task(admission)
        house.admissions.add(self._task)
        self._task.add_done_callback(house.admissions.discard)

    async def _admit(self, request: Request, upgrade: Upgrade, seat: Seat, client: Client, is_echo: bool) -> None:
        """From a well-formed request to the connection, or to a refusal that its client can read."""
        house, named, user, expires = self._house, None, None, None
        try:
            self._check()
            older = None if is_echo else partial(taken_over, house.sessions, request, upgrade)
            seat.admit(limit_key(client.address) if client.address is not None else None, house.loop.time(), older)
            house.door.check(client, request.headers, is_local=self._is_local)
            if house.authenticate is not None:
                found = await house.authenticate(request)
                self._check()
                if found is None or found.has_expired(time.time()):
                    raise HandshakeError(401, "no or invalid token", [("WWW-Authenticate", "Bearer")], reason="token")
                user, expires = found.id, found.expires
            entry = None
            if not is_echo:
                named = claim.find(request.query, upgrade.subprotocols)
                entry = await house.sessions.enter(user, named, seat.owner_with(user))
                self._check()
                seat.settle()
                if named is not None and entry.claim is None:
                    count(house.ledger.counters.resumes, "unknown")
            if user is not None:
                seat.admit_user(user)
            if entry is not None and house.sessions.waits:
                await house.sessions.sit(seat, entry)
                self._check()
            if entry is not None and entry.claim is None and house.on_open is not None:
                await ask(house.on_open, entry.session, request, self._check)
            self._open(upgrade, seat, entry, expires, request.headers.get("traceparent"))
        except HandshakeError as exc:
            self._refuse(exc)
        except asyncio.CancelledError:
            # Ours finds the client gone or refused; any other one came out of the application.
            if not self._is_over:
                self._fail()
            raise
        except Exception:
            self._fail()
        finally:
            if named is not None:
                # Its client may be gone, or refused, when its older connection has given up its place already.
                house.sessions.settle(named, user, seat.owner_with(user))

    @property
    def _is_over(self) -> bool:
        """Whether the client is gone, or was refused."""
        return self._transport is None or self._ending

    def _check(self) -> None:
        """Whether the client can still be let in: the application may have swallowed the cancellation of its task."""
        if self._is_over:
            raise asyncio.CancelledError
        if self._house.draining:
            raise HandshakeError(503, GOING_AWAY, [("Retry-After", "1")], reason="draining")

    def _open(self, upgrade: Upgrade, seat: Seat, entry: Entry | None, ends: float | None, trace: str | None) -> None:
        house, transport = self._house, self._transport
        assert transport is not None
        handler = house.echo if entry is None else house.conversation
        early = bytes(self._early) or self._reader.trailing_data
        connection = Connection(house, handler, transport, accept(upgrade, house.config), seat)
        house.ledger.counters.opened += 1
        if trace is not None and (traceparent := parse_traceparent(trace)) is not None:
            house.traceparents[connection] = traceparent
        self._leave()
        self._transport = None
        transport.set_protocol(connection)
        if entry is not None:
            connection.pump.corked = True
            house.sessions.attach(entry, connection)
            connection.pump.corked = False
        if ends is not None:
            connection.expire_in(ends - time.time())
        logger.debug("%r opened", connection)
        connection.pump.run()
        transport.resume_reading()
        if early:
            connection.data_received(early)

    def _keep(self, data: bytes) -> None:
        self._early += data
        # As long as bytes are read, a client that goes away is noticed.
        if len(self._early) > _MAX_EARLY_SIZE and self._transport is not None:
            self._transport.pause_reading()

    def _fail(self) -> None:
        logger.exception("a handshake could not be handled")
        self._refuse(HandshakeError(500, "internal error", reason="failure"))

    def _refuse(self, error: HandshakeError) -> None:
        if self._transport is None or self._ending:
            return
        self._house.ledger.refused(error)
        if logger.isEnabledFor(logging.DEBUG):
            who = self._house.ledger.name(self._address)
            logger.debug("a handshake from %s was refused: %d %s", who, error.status, error.message)
        self._end_with(refusal.answer(error, self._upgrade))

    def _end_with(self, answer: bytes) -> None:
        """The last that this socket is told; then it waits for its peer to close, by a deadline."""
        transport = self._transport
        assert transport is not None and self._seat is not None
        self._ending = True
        self._early.clear()
        # A refused client costs no more than its answer.
        self._seat.vacate()
        transport.write(answer)
        end_sending(transport)
        transport.resume_reading()  # to see the peer close
        self._house.sweeper.limit(self, self._house.config.close_timeout or LONGEST_CLOSE)

    def _leave(self) -> None:
        self._house.sockets.remove(self)
        self._house.sweeper.cancel(self)
        self._house.turnstile.leave(self)
