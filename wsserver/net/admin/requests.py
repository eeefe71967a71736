"""HTTP requests with a body, one a connection: what the admin port speaks. h11 reads and writes them.

A request is whole before anybody sees it, bounded in size and time; whoever answers it is a coroutine.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import parse_qsl, unquote

import h11

from ...config import KiB
from ..sockets import LONGEST_CLOSE, end_sending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ...config import Config
    from ..sockets import Sockets
    from ..sweeper import Sweeper

logger = logging.getLogger(__name__)

_MAX_HEAD_SIZE = 16 * KiB
_MAX_BODY_SIZE = 256 * KiB

#: More connections at a time are closed unheard.
MAX_SOCKETS = 128


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is decoded, segment by segment; of several query parameters or headers of one name the last counts."""

    method: str
    path: tuple[str, ...]
    # They hold the token of the admin port, and what is said into sessions.
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `headers` beside Content-Length and Connection."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Room(Protocol):
    """What such connections need of the process that they come to."""

    @property
    def config(self) -> Config: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def sweeper(self) -> Sweeper: ...
    @property
    def sockets(self) -> Sockets: ...


class Requests:
    """Makes the protocols of one listener; `answer` is awaited for each request."""

    def __init__(self, room: Room, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self.room = room
        self.answer = answer
        self.count = 0

    def __call__(self) -> Socket:
        return Socket(self)


class Socket(asyncio.Protocol):
    """One connection, for one request."""

    def __init__(self, owner: Requests) -> None:
        self._owner = owner
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_SIZE)
        self._received = 0
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._answered = False
        self.due = inf

    # -- called by asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._owner.room.sockets.add(self)
        self._owner.count += 1
        if self._owner.count > MAX_SOCKETS:
            self._transport.abort()
        self._owner.room.sweeper.limit(self, self._owner.room.config.open_timeout)

    def data_received(self, data: bytes) -> None:
        if self._answered or self._task is not None:
            return
        self._received += len(data)
        try:
            self._http.receive_data(data)
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                self._take(event)
                if self._task is not None or self._answered:
                    return
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
        except h11.RemoteProtocolError as exc:
            self._respond(Response(exc.error_status_hint, b"malformed HTTP request\n"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.count -= 1
        self._owner.room.sockets.remove(self)
        self._owner.room.sweeper.cancel(self)
        if self._task is not None:
            self._task.cancel()

    # -- called by the sweeper and the server --------------------------------------------------------------------

    def visit(self, now: float) -> float:
        self.close(0)
        return inf

    def close(self, code: int, reason: str = "") -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- one request ---------------------------------------------------------------------------------------------

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._request = event
            # What came in one piece h11 has never seen incomplete.
            if self._received - len(self._http.trailing_data[0]) > _MAX_HEAD_SIZE:
                self._respond(Response(431, b"the headers are too large\n"))
            elif event.method == b"CONNECT":
                # What answered it with 200 would be a tunnel from then on (RFC 9110, section 9.3.6).
                self._respond(Response(405, b"this is no proxy\n"))
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > _MAX_BODY_SIZE:
                self._respond(Response(413, b"the body is too large\n"))
        elif isinstance(event, h11.EndOfMessage) and self._request is not None:
            self._owner.room.sweeper.cancel(self)
            self._task = self._owner.room.loop.create_task(self._answer(self._request))

    async def _answer(self, event: h11.Request) -> None:
        path, _, query = event.target.decode("latin-1").partition("?")
        request = Request(
            event.method.decode("ascii"),
            tuple(unquote(segment) for segment in path.split("/")[1:]),
            dict(parse_qsl(query, keep_blank_values=True)),
            {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
            bytes(self._body),
        )
        try:
            response = await self._owner.answer(request)
        except Exception:
            logger.exception("a request for %s could not be answered", path)
            response = Response(500, b"internal error\n")
        self._respond(response)

    def _respond(self, response: Response) -> None:
        if self._transport is None:
            return
        self._answered = True
        headers = {"Content-Type": "text/plain; charset=utf-8", **response.headers}
        # A status without a body has no length either (RFC 9110, section 8.6).
        if response.status != 204:
            headers["Content-Length"] = str(len(response.body))
        self._send(
            h11.Response(
                status_code=response.status,
                reason=HTTPStatus(response.status).phrase,
                headers=[*headers.items(), ("Connection", "close")],
            ),
            # "The server MUST NOT send content in the response" to HEAD (RFC 9110, section 9.3.2).
            h11.Data(data=response.body if self._request is None or self._request.method != b"HEAD" else b""),
            h11.EndOfMessage(),
        )
        end_sending(self._transport)
        self._owner.room.sweeper.limit(self, self._owner.room.config.close_timeout or LONGEST_CLOSE)

    def _send(self, *events: h11.Event) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._http.send(event) or b"" for event in events))
