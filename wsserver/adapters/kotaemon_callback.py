"""A turn in a thread of its own: its pipeline is built, streams, and what was shown is stored."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from ..chat.events import Status
from . import kotaemon_tools as tools
from .kotaemon_conversation import Exchange, pairs
from .kotaemon_documents import Shown, metadata, show
from .kotaemon_errors import turn_error
from .kotaemon_turn import KotaemonTurn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from ..chat.events import Item
    from ..chat.turn import Turn
    from .thread_stream import Stream
    from .threads import Threads

logger = logging.getLogger(__name__)


class Kotaemon:
    """What `kotaemon_app` returns. `threads` tells how many turns run."""

    def __init__(
        self,
        pipeline_factory: Callable[[KotaemonTurn], Any],
        *,
        store: Callable[[KotaemonTurn, Exchange], None] | None,
        html: bool,
        empty_answer: str,
        threads: Threads,
    ) -> None:
        self.threads = threads
        self._factory = pipeline_factory
        self._store = store
        self._html = html
        self._empty_answer = empty_answer

    async def __call__(self, turn: Turn) -> AsyncIterator[Item]:
        exchange = Exchange("")
        items: Stream[Item | Shown]
        items = self.threads.iterate(
            lambda: self._answer(turn, items, exchange), f"turn {turn.id} of {turn.session.id}"
        )
        async with items:
            async for item in items:
                if not isinstance(item, Shown):
                    yield item
                    continue
                # Here and not in the thread, which may be ahead of what the person sees.
                exchange.add(item)
                if item.item is not None:
                    yield item.item

    # -- in the thread of the turn -------------------------------------------------------------------------------

    def prepare(self, turn: KotaemonTurn) -> Any:
        """What a pipeline is built of, as far as others need not wait for it; handed on to `build` and `keep`."""
        return None

    def build(self, turn: KotaemonTurn, prepared: Any) -> Any:
        """The pipeline of this turn. One at a time."""
        return self._factory(turn)

    def keep(self, turn: KotaemonTurn, prepared: Any, exchange: Exchange) -> None:
        """The turn is over; `exchange` is what was shown of it."""
        if self._store is not None:
            self._store(turn, exchange)

    def _answer(
        self, turn: Turn, items: Stream[Item | Shown], exchange: Exchange
    ) -> Generator[Item | Shown, None, None]:
        own = KotaemonTurn(turn, items)
        exchange.question = own.message
        prepared = self.prepare(own)
        try:
            pipeline = tools.build(lambda: self.build(own, prepared), own)
            yield from self._show(pipeline, pipeline.stream(own.message, own.conversation, pairs(own.history[:-1])))
        except Exception as exc:
            error = turn_error(exc)
            if error is None:
                raise
            raise error from exc
        finally:
            # All that it said was read, or nobody reads on: what was shown is known.
            with suppress(asyncio.CancelledError):
                items.call(_nothing)
            try:
                self.keep(own, prepared, exchange)
            except Exception:
                # The answer was given all the same.
                logger.exception("%r was not stored", turn)

    def _show(self, pipeline: Any, documents: Any) -> Generator[Item | Shown, None, None]:
        answered = _Answered(documents)
        said, taken = False, 0
        with closing(answered.documents) as stream:
            for document in stream:
                steps = tools.steps(pipeline)
                shown = show(document, html=self._html, step=bool(steps))
                if shown is None:
                    continue
                if shown.channel == "chat":
                    said = shown.content is not None and (said or bool(shown.content))
                elif shown.channel == "info" and len(steps) > taken:
                    # The tools have shown themselves; this is what the agent thought.
                    thoughts = " ".join(filter(None, map(tools.thought, steps[taken:])))
                    taken = len(steps)
                    shown = shown._replace(item=Status(thoughts) if thoughts else None)
                yield shown
        if self._empty_answer and not said:
            yield Shown(self._empty_answer, "chat", self._empty_answer)
        found = metadata(answered.value)
        if found is not None:
            yield found


class _Answered:
    """What a pipeline streams, and what it returned; `documents` can be closed, whatever streams them."""

    def __init__(self, documents: Any) -> None:
        self.value: Any = None
        self.documents = self._relay(documents)

    def _relay(self, documents: Any) -> Generator[Any, None, None]:
        self.value = yield from documents


async def _nothing() -> None:
    """What is awaited only because it is behind all items."""
