"""What a program does to a session, wherever that is written: push, stop, end.

A request goes to the writer, and is repeated until there is an answer; the writer does it once. Where nobody writes the
session it is left for whoever takes it next.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from ...chat.claim import random_name
from ...errors import ClientError, SessionNotFound, StoreError
from .letters import Letter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from ...store.port import Store

logger = logging.getLogger(__name__)

#: How long an answer is waited for before it is asked again who writes the session, in parts of a lease.
_PATIENCE = 0.25

#: After so many calls in a row that fail the store is taken to be out of reach.
_MISSES = 3

#: Why it was not done, where the session has moved meanwhile.
_ELSEWHERE = "elsewhere"

#: So many requests are known again that come twice.
_REMEMBERED = 4096


class Postbox(Protocol):
    """What carries a request to a process, and its answer back."""

    async def ask(self, process: str, letter: Letter, patience: float) -> Letter | None:
        """The answer, None where there is none in time."""
        ...


async def ask(store: Store, postbox: Postbox, session_id: str, verb: str, data: Mapping[str, Any]) -> None:
    """Has it done by whoever writes the session. Raises `SessionNotFound`, what the writer raises, and `StoreError`."""
    letter = Letter("ask", {"request": random_name(), "session": session_id, "verb": verb, "data": dict(data)})
    misses = 0
    while True:
        try:
            if await _try(store, postbox, session_id, letter):
                return
            misses = 0
        except StoreError:
            misses += 1
            if misses == _MISSES:
                raise
        await asyncio.sleep(store.lease * _PATIENCE / 10)


async def _try(store: Store, postbox: Postbox, session_id: str, letter: Letter) -> bool:
    """Whether it has been done."""
    record = await store.find(session_id)
    if record is None:
        raise SessionNotFound(session_id)
    if record.writer and await store.is_alive(record.writer):
        answer = await postbox.ask(record.writer, letter, store.lease * _PATIENCE)
        if answer is None:
            return False
        error = answer.fields["error"]
        if error is not None and error["code"] != _ELSEWHERE:
            raise ClientError(error["code"], error["message"])
        return error is None
    if letter.fields["verb"] == "stop":
        raise ClientError("not_active", "there is nothing to stop")
    return await store.leave(session_id, letter.sealed())


class Answers:
    """Sends requests, and hands each its answer."""

    def __init__(self, send: Callable[[str, Letter], None]) -> None:
        self.waiting: dict[str, asyncio.Future[Letter]] = {}
        self._send = send

    async def ask(self, process: str, letter: Letter, patience: float) -> Letter | None:
        """As `Postbox.ask`."""
        number = letter.fields["request"]
        future: asyncio.Future[Letter] = asyncio.get_running_loop().create_future()
        self.waiting[number] = future
        self._send(process, letter)
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            return None
        finally:
            del self.waiting[number]

    def came(self, letter: Letter) -> None:
        """An answer."""
        future = self.waiting.get(letter.fields["request"])
        if future is not None and not future.done():
            future.set_result(letter)


class Asked:
    """Does what is asked by letters. `verbs` do it here, and raise `SessionNotFound` where the session is elsewhere."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        verbs: Mapping[str, Callable[[str, Mapping[str, Any]], Coroutine[Any, Any, None]]],
        send: Callable[[str, Letter], None],
    ) -> None:
        self._loop = loop
        self._verbs = verbs
        self._send = send
        self._running: set[asyncio.Task[None]] = set()
        self._known: dict[str, dict[str, Any] | None] = {}  # what came, and the answer once there is one

    def stop(self) -> None:
        for task in self._running:
            task.cancel()

    def __call__(self, letter: Letter) -> None:
        number = letter.fields["request"]
        if number in self._known:
            answer = self._known[number]
            if answer is not None:
                self._answer(letter, answer)
            return
        self._known[number] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        task = self._loop.create_task(self._do(letter))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _do(self, letter: Letter) -> None:
        fields, error = letter.fields, None
        try:
            await self._verbs[fields["verb"]](fields["session"], fields["data"])
        except SessionNotFound:
            error = {"code": _ELSEWHERE, "message": "the session is written by another process"}
        except ClientError as exc:
            error = {"code": exc.code, "message": exc.message}
        except Exception:
            logger.exception("what another process asked for could not be done")
            error = {"code": "failed", "message": "it could not be done"}
        number, answer = fields["request"], {"error": error}
        if error is not None and error["code"] == _ELSEWHERE:
            # It may come here.
            self._known.pop(number, None)
        elif number in self._known:
            self._known[number] = answer
        self._answer(letter, answer)

    def _answer(self, letter: Letter, answer: dict[str, Any]) -> None:
        asker = letter.fields.get("from")
        if asker is not None:
            self._send(asker, Letter("answer", {"request": letter.fields["request"], **answer}))
