"""The life and death of one server process: its listeners, and all that lives on its loop."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Self

from ..chat.events import Custom, Stop
from ..config import Config
from ..errors import ConfigError, SessionNotFound
from ..guard.door import Door
from ..guard.seats import Seats
from ..store.port import Count
from ..wire.close import CloseCode
from . import pages
from .admin import port as admin
from .admission import Opening
from .auth.authentication import from_config
from .auth.renewal import Renewals
from .dispatch import Conversation, Echo
from .drain import drain
from .flow import wait_for_room
from .flusher import Flusher
from .ledger import Ledger
from .listeners import Listeners
from .run import check_callback
from .sessions import Sessions
from .sharing.cluster import Cluster, open_store, store_of
from .sockets import GOING_AWAY, Sockets
from .sweeper import TICK, Sweeper
from .turns import Turns
from .turnstile import Turnstile

if TYPE_CHECKING:
    import concurrent.futures
    import socket
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any

    from ..chat.session import Session
    from ..counters import Counters
    from ..guard.expiry import Expiry
    from ..store.port import Store
    from .connection import Connection
    from .house import Authenticate, OnOpen
    from .run import Generate
    from .sessions import OnClose

logger = logging.getLogger(__name__)


class Server:
    """Serves `generate` on the running loop::

        async with wsserver.Server(generate, Config(port=0)) as server:
            print(server.urls)
            await asyncio.Event().wait()

    `generate` is called with a `Turn` for every message: an async generator that yields what the person is to see, or
    a coroutine function that calls `turn.send`.

    `on_open(session, request)` is awaited before a new session begins: it may fill `session.history` and
    `session.state`, or refuse by raising `HandshakeError(403, "…")`. `on_close(session)` is awaited once the session
    has ended, `close_timeout` seconds at most.

    `authenticate(request)` says who asks, None for nobody, which is refused with 401; where it is given, it is asked
    instead of what `config` says of tokens. A fresh token that a client sends later comes as a request of which
    nothing is left but `Authorization: Bearer …`.

    `sockets` are served instead of the addresses of `config`: stream sockets, TCP or UNIX, that are bound. They are
    the server's from then on, which closes them.

    `store` is what several servers share their sessions by, instead of the Redis of `config`; it is the server's from
    then on.

    Leaving the block ends all turns and connections at once; `await server.drain()` before it lets answers finish.
    Signals are never touched. Entering raises `ConfigError` where the address cannot be had. A server serves once: make
    another one to serve again.
    """

    def __init__(
        self,
        generate: Generate,
        config: Config | None = None,
        *,
        on_open: OnOpen | None = None,
        on_close: OnClose | None = None,
        authenticate: Authenticate | None = None,
        sockets: Sequence[socket.socket] = (),
        store: Store | None = None,
    ) -> None:
        self.config = config or Config()
        self._store = store_of(self.config) if store is None else store
        self.cluster: Cluster | None = None
        self.draining = False
        self.sockets = Sockets()
        self.expiries: dict[Connection, Expiry] = {}
        self.traceparents: dict[Connection, str] = {}
        self.ledger = Ledger(self.config)
        self.seats = Seats(self.config)
        self.door = Door(self.config)
        self.echo = Echo()
        self.pages = pages.load(self.config.path) if self.config.page else {}
        self.admissions: set[asyncio.Task[None]] = set()  # ask the application whether to let somebody in
        self.on_open = on_open
        self._authentication = from_config(self.config) if authenticate is None else None
        self.authenticate = authenticate or self._authentication
        self._on_close = on_close
        self.generate = check_callback(generate)
        self.admin_token = self.config.admin_token or token_urlsafe(24)
        self._listeners = Listeners(self.config, sockets)
        self._admin_listener: asyncio.AbstractServer | None = None
        self._drained: asyncio.Task[None] | None = None

    @property
    def urls(self) -> list[str]:
        """Where it listens, once it does: an address for each socket."""
        return self._listeners.urls

    @property
    def counters(self) -> Counters:
        """What this server has counted."""
        return self.ledger.counters

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self.sweeper = Sweeper(self.loop, self.counters.loop_lag.observe)
        self.flusher = Flusher(self.loop, self.config.flush_interval)
        self.turnstile = Turnstile(self.loop)
        self.renewals = Renewals(self.authenticate, self.config, self.loop)
        if self._store is None:
            self.turns = Turns(self, self.generate, self.when_idle)
            self.sessions = Sessions(self, self.turns, self._on_close)
            self.conversation = Conversation(self.sessions, self.turns, self.renewals, self.traceparents, self.config)
        else:
            await open_store(self._store)
            self.cluster = Cluster(self, self._store, self._on_close)
            self.turns, self.sessions = self.cluster.turns, self.cluster.sessions
            self.conversation = self.cluster.conversation
        try:
            await self._listeners.open(self, partial(Opening, self))
        except ConfigError:
            if self.cluster is not None:
                await self.cluster.stop()
            raise
        if self.authenticate is None:
            self._listeners.warn_of_open_doors()
        self.sweeper.start()
        if self.config.admin_port:
            try:
                self._admin_listener = await admin.open_port(self)
            except ConfigError:
                await self.close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- from outside --------------------------------------------------------------------------------------------

    async def push(self, session_id: str, event: str, data: Mapping[str, Any] | None = None) -> None:
        """Shows an event of your own in a session, also in the midst of a turn, also while its client is away.

        Waits while the client is too far behind, or the log of the session is full of what it has not read. Raises
        `SessionNotFound`, also where the session ends while this waits; `ValueError` for a name that the protocol
        uses, `TypeError` for what JSON cannot hold.
        """
        pushed = Custom(event, data or {})
        if self.cluster is not None:
            await self.cluster.push(session_id, pushed)
            return
        session = self.sessions[session_id]
        await wait_for_room(session, lambda: session.ended)
        if session.ended:
            raise SessionNotFound(session_id)
        session.publish(pushed.event, pushed.data())

    def push_threadsafe(
        self, session_id: str, event: str, data: Mapping[str, Any] | None = None
    ) -> concurrent.futures.Future[None]:
        """The same from another thread; the future that it returns has what `push` would raise."""
        return asyncio.run_coroutine_threadsafe(self.push(session_id, event, data), self.loop)

    async def stop(self, session_id: str, turn: int | None = None) -> None:
        """Ends a turn of a session, or all that runs or waits, as if the person had said "stop".

        Raises `SessionNotFound`, and `ClientError` `not_active` where there is nothing to stop.
        """
        if self.cluster is not None:
            await self.cluster.stop_turn(session_id, turn)
            return
        self.turns.stop(self.sessions[session_id], Stop(turn))

    async def end(self, session_id: str, reason: str = "ended by the application") -> None:
        """Ends a session: its turns, then its connection with 4506. Raises `SessionNotFound`."""
        if self.cluster is not None:
            await self.cluster.end(session_id, reason)
            return
        self.sessions.end(self.sessions[session_id], "stopped", CloseCode.ENDED_BY_APPLICATION, reason)

    async def count(self) -> Count:
        """How many `instances`, `connections`, `sessions` and `turns` that run there are.

        Over all servers that share the Redis, of which each tells the others every other second; raises `StoreError`
        where that is out of reach.
        """
        return self.own_count() if self.cluster is None else await self.cluster.count()

    def own_count(self) -> Count:
        """The same of this server alone."""
        return Count(1, self.seats.connections[None], len(self.sessions), len(self.turns.runs))

    # -- the end -------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Lets the server run empty, `drain_timeout` seconds at most.

        Nobody new is let in. Each client is told when to come back; those that wait for no answer are sent away with
        1012 over that time, the others once theirs is complete. What is not complete in time ends with
        `server_shutdown`. Then all sessions end. Calling it again waits for the same end.
        """
        if self._drained is None:
            self._drained = self.loop.create_task(drain(self))
        await asyncio.wait((self._drained,))
        if self._drained.cancelled():
            await self.close()
        else:
            self._drained.result()

    async def close(self) -> None:
        """Ends all turns with `server_shutdown` and all connections with 1012.

        Returns when all connections are gone, and all callbacks have ended or used up `close_timeout`.
        """
        self.begin_to_drain()
        if self._drained is not None and self._drained is not asyncio.current_task():
            # Somebody is in a hurry.
            self._drained.cancel()
        if self.cluster is not None:
            self.cluster.begin_to_close()
        for session in self.sessions:
            self.sessions.shut_down(session)
        self.sockets.closing = True
        for member in self.sockets:
            member.close(CloseCode.SERVICE_RESTART, GOING_AWAY)
        await self._wait_for_callbacks()
        if self._admin_listener is not None:
            self._admin_listener.close()
        # What does not close in time is aborted by the sweeper.
        await self.sockets.emptied()
        if self.cluster is not None:
            await self.cluster.stop()
        self.sweeper.stop()
        if self._authentication is not None:
            await self._authentication.close()

    def begin_to_drain(self) -> None:
        """From now on nobody is let in."""
        self.draining = self.conversation.draining = True
        self.stop_listening()

    def stop_listening(self) -> None:
        """From now on nobody new is accepted."""
        self._listeners.close()

    def adopt(self, number: int, sock: socket.socket) -> None:
        """Serves a connection that another process has accepted, as if it had come to the socket of this number."""
        self._listeners.adopt(number, sock)

    def send_away(self, session: Session) -> None:
        """Closes the session's connection, so that its client finds another server."""
        connection = self.sessions.connection_of(session)
        if connection is not None:
            connection.close(CloseCode.SERVICE_RESTART, GOING_AWAY)

    def when_idle(self, session: Session) -> None:
        if self.draining:
            self.send_away(session)

    async def _wait_for_callbacks(self) -> None:
        tasks = [*(run.task for run in self.turns.runs), *self.sessions.closings, *self.admissions]
        if tasks:
            # Those that use up their time are abandoned by the sweeper, which makes most of them end after all.
            timeout = self.config.close_timeout
            _, pending = await asyncio.wait(tasks, timeout=timeout + 2 * TICK if timeout else None)
            for task in pending:
                logger.warning("a callback has not ended in time and is left behind: %r", task)
