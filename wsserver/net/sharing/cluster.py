"""A server that shares its sessions with others: what runs beside it, as long as it lives."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ...chat.events import Custom, Stop
from ...errors import ConfigError, SessionNotFound, StoreError
from ...wire.close import CloseCode
from ..flow import wait_for_room
from .asks import Asked, ask
from .directory import Directory
from .exchange import Exchange
from .mirror import Mirror
from .turns import SharedConversation, SharedTurns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...chat.session import Session
    from ...config import Config
    from ...store.port import Count, Store
    from ..server import Server
    from ..sessions import OnClose
    from .letters import Letter

logger = logging.getLogger(__name__)

#: A process that has not said so for so long does not live any more, in seconds: its sessions are taken over.
LEASE = 6.0

#: In each lease so many signs of life are given.
_BEATS = 3


class Cluster:
    """Made on the loop of `server`, which it gives its `turns`, `sessions` and `conversation`."""

    def __init__(self, server: Server, store: Store, on_close: OnClose | None) -> None:
        config, loop = server.config, server.loop
        self.turns = SharedTurns(server, server.generate, self._when_idle)
        self.sessions = Directory(server, self.turns, on_close, store)
        self.conversation = SharedConversation(self.sessions, self.turns, server.renewals, server.traceparents, config)
        self._server = server
        self._store = store
        self._verbs = {"push": self._push, "stop": self._stop_turn, "end": self._end}
        self._asked = Asked(loop, self._verbs, self._send)
        self._exchange = Exchange(store, loop, self.sessions, self.conversation, self._asked)
        self.sessions.exchange = self._exchange
        self.turns.directory = self.conversation.directory = self.sessions
        self.turns.conversation = self.conversation
        self._heart = loop.create_task(self._beat())
        self._stopped: asyncio.Task[None] | None = None

    # -- life ------------------------------------------------------------------------------------------------------

    def begin_to_close(self) -> None:
        """Sessions go to whoever asks for them, whatever their callbacks still do."""
        self.sessions.closing = True

    async def stop(self) -> None:
        """Releases all sessions once they are stored, within `close_timeout`, and leaves the store."""
        if self._stopped is None:
            self._stopped = self._server.loop.create_task(self._stop_all())
        await asyncio.shield(self._stopped)

    async def _stop_all(self) -> None:
        self.sessions.release_all()
        try:
            async with asyncio.timeout(self._server.config.close_timeout or None):
                await self.sessions.taken()
                await self.sessions.copier.settled()
        except TimeoutError:
            logger.warning(
                "the store did not take all in time: %d sessions may have lost their end", len(self.sessions)
            )
        self._heart.cancel()
        await asyncio.wait((self._heart,))
        self._asked.stop()
        await self.sessions.stop()
        await self._exchange.stop()
        await self.sessions.copier.stop()
        try:
            await self._store.close()
        except StoreError as exc:
            logger.warning("the store was left without a word: %s", exc)

    @property
    def letters_at_rest(self) -> bool:
        """Whether no session is read in another process than it is written in, and nobody waits for one."""
        return self._exchange.at_rest

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._store.lease / _BEATS)
            copier = self.sessions.copier
            try:
                await self._store.renew(self._own())
                await self._exchange.beat()
                copier.reached()
            except StoreError as exc:
                copier.missed(exc)
            except Exception:
                logger.exception("a sign of life could not be given")
            self.sessions.refresh(self._server.loop.time())

    def _when_idle(self, session: Session) -> None:
        self.sessions.idle(session)
        self._server.when_idle(session)

    def _send(self, process: str, letter: Letter) -> None:
        self._exchange.send(process, letter)

    # -- what programs do ------------------------------------------------------------------------------------------

    async def push(self, session_id: str, pushed: Custom) -> None:
        """Shows an event in a session, wherever it is written. Raises `SessionNotFound`."""
        await self._ask(session_id, "push", {"event": pushed.event, "data": pushed.data()})

    async def stop_turn(self, session_id: str, turn: int | None) -> None:
        """Ends a turn, or all. Raises `SessionNotFound`, and `ClientError` `not_active`."""
        await self._ask(session_id, "stop", {"turn": turn})

    async def end(self, session_id: str, reason: str) -> None:
        """Ends a session. Raises `SessionNotFound`."""
        await self._ask(session_id, "end", {"reason": reason})

    async def count(self) -> Count:
        """What all servers together have: of the others, as of their last sign of life. Raises `StoreError`."""
        await self._store.renew(self._own())
        return await self._store.count()

    def _own(self) -> Count:
        """What this server has. One whose writer is another process is counted there."""
        own = self._server.own_count()
        return own._replace(sessions=own.sessions - sum(isinstance(one, Mirror) for one in self.sessions))

    async def _ask(self, session_id: str, verb: str, data: Mapping[str, Any]) -> None:
        try:
            await self._verbs[verb](session_id, data)
        except SessionNotFound:
            await ask(self._store, self._exchange.answers, session_id, verb, data)

    def _written_here(self, session_id: str) -> Session:
        """Raises `SessionNotFound` where another process writes it, or is about to."""
        journal = self.sessions.journals.get(session_id)
        if journal is None or journal.released or isinstance(journal.session, Mirror):
            raise SessionNotFound(session_id)
        return journal.session

    async def _push(self, session_id: str, data: Mapping[str, Any]) -> None:
        pushed = Custom(data["event"], data["data"])
        session = self._written_here(session_id)
        await wait_for_room(session, lambda: session.ended)
        session = self._written_here(session_id)
        session.publish(pushed.event, pushed.data())

    async def _stop_turn(self, session_id: str, data: Mapping[str, Any]) -> None:
        self.turns.stop(self._written_here(session_id), Stop(data["turn"]))

    async def _end(self, session_id: str, data: Mapping[str, Any]) -> None:
        session = self._written_here(session_id)
        self.sessions.end(session, "stopped", CloseCode.ENDED_BY_APPLICATION, data["reason"])


def store_of(config: Config) -> Store | None:
    """The store that `config` names, None where it names none. Raises `ConfigError` where it cannot be used here."""
    if not config.redis:
        return None
    try:
        from ...store.redis import RedisStore
    except ImportError as exc:
        raise ConfigError("--redis needs the redis package: pip install 'wsserver[redis]'") from exc
    return RedisStore(config.redis, lease=LEASE)


async def open_store(store: Store) -> None:
    """Raises `ConfigError` where it cannot be reached."""
    try:
        await store.open()
    except StoreError as exc:
        raise ConfigError(str(exc)) from exc
