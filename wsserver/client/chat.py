"""A conversation with a wsserver, from asyncio::

    async with connect("ws://127.0.0.1:8765/ws/chat", reconnect=True) as chat:
        async for event in chat.ask("What can you do?"):
            if event.name == "token":
                sys.stdout.write(event.data["value"])

What comes is handed to whoever asked for it as soon as it is read: there is a task only while a lost connection is
being replaced, and pings are answered by the way.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..wire.close import CloseCode
from .connection import Target
from .errors import ChatError, ConnectionLost, RequestRefused, SessionLost
from .inbox import MAX_UNREAD
from .keeper import Keeper

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from .events import Event
    from .inbox import Inbox
    from .keeper import State
    from .outbox import Result


@asynccontextmanager
async def connect(
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    token: str | None = None,
    ssl: tls.SSLContext | None = None,
    uds: str | None = None,
    open_timeout: float = 10.0,
    reconnect: bool = False,
    max_reconnect_time: float = 0.0,
) -> AsyncIterator[Chat]:
    """A conversation with the server at `url` (ws or wss), closed when the block is left.

    `headers` go along with the request, `token` as `Authorization: Bearer …`; `ssl` replaces the default context of a
    wss address; `uds` is the path of a UNIX socket to connect through, the URL then gives host header and path.
    `open_timeout`, in seconds, 0 for none, covers all up to the server's first event.

    With `reconnect` the conversation outlives its connections: after a loss it is resumed, what was not answered is
    asked again, and no event is lost or comes twice. Attempts are 0.5 s to 30 s apart, each at a random moment, or as
    the server says; after `max_reconnect_time` seconds without success it is over, 0 for never. Where the server does
    not want to see the client again, it is over at once.

    Raises `ConnectError` where no first connection comes about, `ConfigError` for what cannot be.
    """
    target = Target.parse(url, headers=headers, token=token, context=ssl, uds=uds, open_timeout=open_timeout)
    chat = Chat(target, reconnect=reconnect, max_reconnect_time=max_reconnect_time)
    await chat.open()
    try:
        yield chat
    finally:
        await chat.close()


class Chat:
    """An open conversation; made by `connect`.

    What is asked while an answer runs waits or interrupts, as the server is configured; events are matched to their
    question, so several may be asked at a time.
    """

    def __init__(self, target: Target, *, reconnect: bool = False, max_reconnect_time: float = 0.0) -> None:
        self.url = target.url
        self._target = target
        self._keeper = Keeper(target, self._pace, reconnect=reconnect, max_reconnect_time=max_reconnect_time)
        self._conversation = self._keeper.conversation
        self._inboxes: set[Inbox] = set()  # those that somebody takes from
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<Chat {self.url} {self.session_id} {self.state}>"

    @property
    def state(self) -> State:
        """Whether there is a connection: `connecting`, `connected`, `reconnecting`, and `closed` once it is over."""
        return self._keeper.state

    @property
    def session(self) -> dict[str, Any]:
        """The data of the server's last `session` event, which is the first of every connection."""
        return self._conversation.session

    @property
    def session_id(self) -> str | None:
        """The public name of the session; another one after a reconnection means that the old session is gone."""
        return self._conversation.session_id

    async def ask(self, content: Any) -> AsyncGenerator[Event, None]:
        """Sends a message, text or any JSON value, and gives the events of its turn, the last one being final.

        It is sent when the first event is asked for. An `error` that ends the turn is an event like the others. Where
        a reconnection left a hole in the events, there comes an event `gap` (`from_seq` to `seq` are missing), and what
        the server remembers: the text that was missed as a `token`, or a `reset` and the whole, then the final event if
        the turn is over. So text put together by `token` and `reset` is right; tools and sources may be missing.
        `truncated` in a token says that the server itself has forgotten what comes behind it.

        Raises `RequestRefused` where the server does not take the message, `ConnectionLost`, `SessionLost`, and
        `TypeError` or `ValueError` for what JSON cannot hold.
        """
        self._check()
        question = self._conversation.ask(content)
        self._inboxes.add(question)
        try:
            while True:
                if not question.arrived.is_set():
                    with self._reading():
                        await question.arrived.wait()
                event = question.take()
                self._pace()
                if event is None:
                    return
                yield event
        finally:
            self._conversation.leave(question)
            self._inboxes.discard(question)
            self._pace()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Everything that belongs to no question of ours, to the end of the chat; raises `ConnectionLost` if it breaks.

        These are events pushed into the session, `drain` and `auth_expiring`, turns that this chat did not begin, and
        what becomes of the connection: `session` after each reconnection (`resumed`, `recovered`), `reconnecting`
        (`code`, `reason`) before it, and `gap` where events are missing (`from_seq` to `seq`). What nobody takes is
        kept from the beginning on, some 2 million characters of it, 256 of which each event counts for beside its text;
        then the oldest go, and a `gap` says how many (`dropped`). One loop at a time.
        """
        rest = self._conversation.rest
        self._inboxes.add(rest)
        try:
            while True:
                # Who only listens does not keep others from being waited for.
                await rest.arrived.wait()
                event = rest.take()
                self._pace()
                if event is None:
                    return
                yield event
        finally:
            self._inboxes.discard(rest)
            self._pace()

    async def answer(self, call_id: str, value: Any) -> None:
        """Answers an event `ask`, whose `call_id` it is, with a value for its `schema`.

        Raises `RequestRefused` `not_active` where nothing asks that any more, `ConnectionLost`, `SessionLost`.
        """
        await self._request("answer", {"call_id": call_id, "value": value})

    async def stop(self, turn: int | None = None) -> bool:
        """Ends a turn, or all that runs or waits; returns False where there was nothing to end.

        The final events come to those who asked. Raises `ConnectionLost`, `SessionLost`, `RequestRefused`.
        """
        try:
            await self._request("stop", {} if turn is None else {"turn": turn})
        except RequestRefused as exc:
            if exc.code != "not_active":
                raise
            return False
        return True

    async def history(self) -> dict[str, Any]:
        """What was shown so far: `items`, each with `turn`, `role`, `content`, `status`; `active`; `seq`.

        Raises `ConnectionLost`, `SessionLost`, `RequestRefused`.
        """
        return await self._request("history", {})

    async def authenticate(self, token: str) -> None:
        """Shows a fresh token of the same user, on this connection and on those that follow.

        Raises `RequestRefused` `invalid_token`, `ConnectionLost`, `SessionLost`.
        """
        await self._request("auth", {"token": token})
        self._target.token = token

    async def end(self) -> None:
        """Ends the session and what runs in it, on the server too, and the chat with it. Raises `ConnectionLost`."""
        try:
            # Where the session has gone before, there is nothing left to end.
            with suppress(SessionLost):
                await self._request("end", {})
        except ConnectionLost as exc:
            if exc.code != CloseCode.NORMAL:
                raise
        await self.close()

    async def lost(self) -> ConnectionLost:
        """Waits until the chat is over and returns why."""
        with self._reading():
            return await asyncio.shield(self._keeper.over)

    async def open(self) -> None:
        """Makes the first connection; called once, by `connect`. Raises `ConnectError`."""
        await self._keeper.open()

    async def close(self) -> None:
        """Ends the connection in order, within seconds; does nothing where it has ended."""
        await self._keeper.close()

    # -- requests and pace ---------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._keeper.over.done():
            raise self._keeper.over.result()

    async def _request(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        self._check()
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def settle(result: Result) -> None:
            if answered.done():
                return  # who asked has given up
            if isinstance(result, ChatError):
                answered.set_exception(result)
            else:
                answered.set_result(result)

        self._conversation.request(name, data, settle)
        with self._reading():
            return await answered

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
        unread = sum(inbox.unread for inbox in self._inboxes)
        self._keeper.read(unread <= MAX_UNREAD or self._waiting > 0)
