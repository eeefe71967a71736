"""Ways to Redis: what comes while a pipeline is under way leaves together in the next one, by its node of a cluster."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from redis.asyncio import RedisCluster
from redis.backoff import EqualJitterBackoff
from redis.exceptions import NoScriptError

from ..errors import StoreError
from .trouble import explain, is_trouble, recognised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .address import Client
    from .scripts import Argument, Command

#: Seconds that a lane waits at most before it tries again to reach a Redis that was out of reach.
_PATIENCE = 3.0

#: More failures make no difference, but numbers that no float holds.
_MOST_FAILURES = 10

#: Commands of one pipeline at most: packing them takes a few milliseconds, in which no token goes out.
_PIPELINE = 256

logger = logging.getLogger(__name__)

_CLOSED = "this store is closed"

_Waiting = tuple["Command", "asyncio.Future[Any]"]


class Lanes:
    """A lane to each node that has been talked to. `shown` is the address as people may see it."""

    def __init__(self, client: Client, shown: str) -> None:
        self._client = client
        self._shown = shown
        self._lanes: dict[str, Lane] = {}
        self._closed = False

    def call(self, command: Command) -> asyncio.Future[Any]:
        """Sends a command; what Redis answers, or `StoreError`. Those of one key are done in the order of the calls."""
        if self._closed:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_exception(StoreError(_CLOSED))
            return future
        node = self.node(command.key)
        lane = self._lanes.get(node)
        if lane is None:
            lane = self._lanes[node] = Lane(self._client, self._shown)
        return lane.call(command)

    def node(self, key: Argument) -> str:
        """The node that has a key, as far as is known; only a cluster has several."""
        if isinstance(self._client, RedisCluster):
            slot = self._client.nodes_manager.slots_cache.get(self._client.keyslot(key))
            if slot:
                return slot[0].name
        return ""

    async def close(self) -> None:
        """Ends what is under way; nothing may be called any more."""
        self._closed = True
        for lane in self._lanes.values():
            await lane.close()


class Lane:
    """One pipeline at a time."""

    def __init__(self, client: Client, shown: str) -> None:
        self._client = client
        self._shown = shown
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._backoff = EqualJitterBackoff(cap=_PATIENCE, base=0.05)

    def call(self, command: Command) -> asyncio.Future[Any]:
        """As `Lanes.call`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drive())
        return future

    async def close(self) -> None:
        """Ends what is under way."""
        # redis-py may take a cancellation for the end of a wait of its own, and go on.
        while self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)

    async def _drive(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                if self._failures:
                    await asyncio.sleep(self._backoff.compute(min(self._failures, _MOST_FAILURES)))
                batch = [waiting for waiting in self._waiting[:_PIPELINE] if not waiting[1].done()]
                del self._waiting[:_PIPELINE]
                self._settle(batch, await self._answers([command for command, _ in batch]))
        finally:
            self._task = None
            for _, future in (*batch, *self._waiting):
                if not future.done():
                    future.set_exception(StoreError(_CLOSED))
            self._waiting.clear()

    def _settle(self, batch: list[_Waiting], answers: Sequence[Any]) -> None:
        self._failures = self._failures + 1 if any(map(is_trouble, answers)) else 0
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(explain(answer, self._shown))
            else:
                future.set_result(answer)

    async def _answers(self, commands: list[Command]) -> Sequence[Any]:
        """For each command what Redis answers, or why there is no answer."""
        try:
            answers = await self._send([command.words for command in commands])
            unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                # A Redis that was started anew knows no scripts.
                again = await self._send([commands[index].in_full for index in unknown])
                for index, answer in zip(unknown, again, strict=True):
                    answers[index] = answer
        except Exception as exc:  # whatever it is, it is what callers have to know
            answers = [exc] * len(commands)
        if any(map(is_trouble, answers)):
            await self._look_again()
        return answers

    async def _look_again(self) -> None:
        """Another server may be the primary now."""
        try:
            if isinstance(self._client, RedisCluster):
                await self._client.nodes_manager.initialize()
            else:
                # A new connection asks for its address.
                await self._client.connection_pool.disconnect(inuse_connections=False)
        except Exception as exc:
            logger.debug("Redis at %s does not say where it is: %s", self._shown, exc)

    async def _send(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        return [recognised(answer) for answer in await pipeline.execute(raise_on_error=False)]
