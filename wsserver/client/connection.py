"""A conversation with a wsserver, from asyncio::

    async with connect("ws://127.0.0.1:8765/ws/chat") as chat:
        async for event in chat.ask("What can you do?"):
            if event.name == "token":
                sys.stdout.write(event.data["value"])

What comes is handed to whoever asked for it as soon as it is read: there is no task, and pings are answered by the way.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import HandshakeError
from ..wire.client import Client
from .address import Address
from .errors import ChatError, ConnectError, ConnectionLost, RequestRefused
from .events import decode, encode
from .link import Link

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from .events import Event

MiB = 2**20

#: The largest message that is taken from a server, in bytes.
MAX_MESSAGE_SIZE = 16 * MiB

#: Above so many characters that nobody has asked for yet, the server has to wait.
MAX_UNREAD = 1 * MiB

#: A server that pings is taken for dead after so many silent intervals.
_SILENT_INTERVALS = 3


@asynccontextmanager
async def connect(
    url: str, *, headers: Sequence[tuple[str, str]] = (), open_timeout: float = 10.0
) -> AsyncIterator[Chat]:
    """A conversation with the server at `url` (ws or wss), closed when the block is left.

    `headers` go along with the request. `open_timeout`, in seconds, 0 for none, covers all up to the server's first
    event. Raises `ConnectError` where that does not come, `ConfigError` for a URL or a header that cannot be.
    """
    address = Address.parse(url)
    chat = Chat(url, Client(address.host_header, address.target, headers, limit=MAX_MESSAGE_SIZE))
    await chat.open(address, open_timeout)
    try:
        yield chat
    finally:
        await chat.close()


class _Answer:
    """What has come of one turn and was not taken yet, each item with its size."""

    def __init__(self) -> None:
        self.turn: int | None = None
        self.unread = 0
        self.arrived = asyncio.Event()
        self._items: deque[tuple[Event | ChatError, int]] = deque()

    def put(self, item: Event | ChatError, size: int = 0) -> None:
        self._items.append((item, size))
        self.unread += size
        self.arrived.set()

    def take(self) -> Event:
        """The next event; raises the error that came in its place."""
        item, size = self._items.popleft()
        self.unread -= size
        if not self._items:
            self.arrived.clear()
        if isinstance(item, ChatError):
            raise item
        return item


class _Request(NamedTuple):
    """Waits for the event `answer`."""

    answer: str
    future: asyncio.Future[dict[str, Any]]


class Chat:
    """An open conversation; made by `connect`.

    `session` is the data of the server's first event. What is asked while an answer runs waits or interrupts, as the
    server is configured; events are matched to their question, so several may be asked at a time.
    """

    def __init__(self, url: str, wire: Client) -> None:
        loop = asyncio.get_running_loop()
        self.url = url
        self.session: dict[str, Any] = {}
        self.session_id: str | None = None
        self._link = Link(wire, self)
        self._opened: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[ConnectionLost] = loop.create_future()
        self._numbers = count(1)
        self._answers: dict[str, _Answer] = {}  # by the id of their message
        self._turns: dict[int, _Answer] = {}
        self._requests: dict[str, _Request] = {}
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<Chat {self.url} {self.session_id} {self._link.wire.state.value}>"

    async def ask(self, content: Any) -> AsyncGenerator[Event, None]:
        """Sends a message, text or any JSON value, and gives the events of its turn, the last one being final.

        It is sent when the first event is asked for. An `error` that ends the turn is an event like the others. Raises
        `RequestRefused` where the server does not take the message, `ConnectionLost`, and `TypeError` or `ValueError`
        for what JSON cannot hold.
        """
        ref = self._send("message", {"content": content})
        answer = self._answers[ref] = _Answer()
        try:
            while True:
                if not answer.arrived.is_set():
                    with self._reading():
                        await answer.arrived.wait()
                event = answer.take()
                self._pace()
                yield event
                if event.final:
                    return
        finally:
            del self._answers[ref]
            if answer.turn is not None:
                del self._turns[answer.turn]
            self._pace()

    async def stop(self, turn: int | None = None) -> bool:
        """Ends a turn, or all that runs or waits; returns False where there was nothing to end.

        The final events come to those who asked. Raises `ConnectionLost`, `RequestRefused`.
        """
        try:
            await self._request("stop", {} if turn is None else {"turn": turn}, "ack")
        except RequestRefused as exc:
            if exc.code != "not_active":
                raise
            return False
        return True

    async def history(self) -> dict[str, Any]:
        """What was shown so far: `items`, each with `turn`, `role`, `content`, `status`; `active`; `seq`.

        Raises `ConnectionLost`, `RequestRefused`.
        """
        return await self._request("history", {}, "history")

    async def lost(self) -> ConnectionLost:
        """Waits until the connection is over and returns why."""
        with self._reading():
            return await asyncio.shield(self._over)

    async def close(self) -> None:
        """Ends the connection in order, within seconds; does nothing where it has ended."""
        await self._link.close()

    # -- opening -------------------------------------------------------------------------------------------------

    async def open(self, address: Address, open_timeout: float) -> None:
        """Waits for the first event; called once, by `connect`. Raises `ConnectError`."""
        deadline = asyncio.timeout(open_timeout or None)
        try:
            async with deadline:
                await self._link.open(address)
                await self._opened
        except BaseException as exc:
            self._opened.cancel()
            self._link.abort()
            if not isinstance(exc, OSError):
                raise
            if deadline.expired():
                text = f"{self.url} did not answer within {open_timeout:g} s: is this a wsserver?"
            elif isinstance(exc, ssl.SSLError):
                text = f"no secure connection to {self.url}: {exc.reason or exc.strerror or exc}"
            else:
                text = f"nothing answers at {self.url}: start it with `wsserver serve`, or check the address"
            raise ConnectError(text) from exc

    def _connect_error(self) -> ConnectError:
        wire = self._link.wire
        error = wire.opening_error
        if isinstance(error, HandshakeError):
            return ConnectError.refused(self.url, error)
        if error is not None:
            return ConnectError(f"what answers at {self.url} is no wsserver: {error.reason}")
        text = f"{wire.close_code} {wire.close_reason}".strip()
        return ConnectError(f"{self.url} closed the connection at once: {text}", code=int(wire.close_code))

    # -- called by the link --------------------------------------------------------------------------------------

    def received(self, text: str) -> None:
        event = decode(text)
        if event.name == "session":
            self._begin(event)
            return
        ref = str(event.data.get("ref"))
        asked = self._answers.get(ref)
        turn = event.data.get("turn") if event.turn is None else event.turn
        if asked is not None and asked.turn is None and isinstance(turn, int):
            asked.turn = turn
            self._turns[turn] = asked
        if event.turn is not None:
            if (answer := self._turns.get(event.turn)) is not None:
                answer.put(event, len(text))
                self._pace()
        elif event.name == "error":
            self._refuse(event, ref)
        else:
            self._answer_request(event, ref)

    def ended(self) -> None:
        self._over.set_result(self._loss())
        if not self._opened.done():
            self._opened.set_exception(self._connect_error())
        for answer in self._answers.values():
            answer.put(self._loss())
        for request in self._requests.values():
            if not request.future.done():
                request.future.set_exception(self._loss())

    def _loss(self) -> ConnectionLost:
        return ConnectionLost(int(self._link.wire.close_code), self._link.wire.close_reason)

    def _begin(self, event: Event) -> None:
        if self._opened.done():
            return
        self.session, self.session_id = event.data, event.session_id
        interval = event.data.get("ping_interval")
        if isinstance(interval, int | float) and interval > 0:
            self._link.expect_life(interval * _SILENT_INTERVALS)
        self._opened.set_result(None)

    def _refuse(self, event: Event, ref: str) -> None:
        data = event.data
        refused = RequestRefused(
            str(data.get("code")), str(data.get("message")), retryable=data.get("retryable") is True
        )
        if ref in self._answers:
            self._answers[ref].put(refused)
        elif ref in self._requests and not self._requests[ref].future.done():
            self._requests[ref].future.set_exception(refused)

    def _answer_request(self, event: Event, ref: str) -> None:
        # An ack names its request; a history does not, but they come in the order they were asked for.
        for name, request in self._requests.items():
            if request.answer == event.name and (event.name != "ack" or name == ref) and not request.future.done():
                request.future.set_result(event.data)
                return

    # -- requests ------------------------------------------------------------------------------------------------

    def _send(self, name: str, data: dict[str, Any]) -> str:
        if self._over.done():
            raise self._loss()
        ref = f"c{next(self._numbers)}"
        self._link.send(encode(name, data, ref))
        return ref

    async def _request(self, name: str, data: dict[str, Any], answer: str) -> dict[str, Any]:
        ref = self._send(name, data)
        request = self._requests[ref] = _Request(answer, asyncio.get_running_loop().create_future())
        try:
            with self._reading():
                return await request.future
        finally:
            del self._requests[ref]

    # -- pace ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """While somebody waits for what may come next, reading goes on, whatever else nobody takes."""
        self._waiting += 1
        self._pace()
        try:
            yield
        finally:
            self._waiting -= 1
            self._pace()

    def _pace(self) -> None:
        unread = sum(answer.unread for answer in self._answers.values())
        self._link.read(unread <= MAX_UNREAD or self._waiting > 0)
