"""One callback that runs: its task, its pace, and how it hears of its end."""

from __future__ import annotations

import asyncio
import inspect
import logging
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..errors import ConfigError, TurnError
from .flow import wait_for_room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ..chat.events import Item
    from ..chat.session import Session
    from ..chat.turn import Turn
    from .flusher import Flusher
    from .turnstile import Line

    Generate = Callable[[Turn], AsyncIterator[Item] | Awaitable[None]]

logger = logging.getLogger(__name__)

#: A callback that shows items without awaiting anything gives the loop back after so many.
LONGEST_BURST = 64

_NOTHING = object()


def check_callback(generate: Any) -> Generate:
    """`generate` itself; raises `ConfigError` if it cannot be a callback."""
    # The code of an instance of a class with `__call__` is that of the method.
    code = generate if inspect.isroutine(generate) or isinstance(generate, partial) else type(generate).__call__
    if not callable(generate):
        problem = f"is a {type(generate).__name__}"
    elif not (inspect.isasyncgenfunction(code) or inspect.iscoroutinefunction(code)):
        problem = "is not async"
    elif not _takes_one(generate):
        problem = "does not take exactly one argument, the turn"
    else:
        return cast("Generate", generate)
    raise ConfigError(
        f"the callback {getattr(generate, '__name__', generate)!r} {problem}: it must be an async generator function,"
        " like `async def generate(turn): yield 'hello'`, or a coroutine function that calls `turn.send`"
    )


def _takes_one(generate: Callable[..., Any]) -> bool:
    try:
        inspect.signature(generate).bind(None)
    except TypeError:
        return False
    return True


class Owner(Protocol):
    """What a run needs of those who began it."""

    def expired(self, run: Run) -> None:
        """The deadline that was set for the run has come."""

    def ended(self, run: Run) -> None:
        """The callback has ended; called exactly once."""


class Run:
    """The callback of one turn. In the sweeper it stands for the deadline of the turn, then for that of its ending."""

    __slots__ = (
        "_before",
        "_burst",
        "_flusher",
        "_line",
        "_log",
        "_loop",
        "_owner",
        "abandoned",
        "began",
        "cancelled",
        "due",
        "first_token",
        "session",
        "settled",
        "task",
        "turn",
    )

    def __init__(
        self,
        session: Session,
        turn: Turn,
        generate: Generate,
        owner: Owner,
        flusher: Flusher,
        line: Line,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.session = session
        self.turn = turn
        self.abandoned = False
        self.due = inf
        self._owner = owner
        self._flusher = flusher
        self._line = line
        self._log = session.log
        self._loop = loop
        self._burst = 0
        self.began = loop.time()
        self.first_token: float | None = None  # when it was shown
        self.cancelled: float | None = None  # when it was ended from outside
        self.settled = False
        self._before = session.log.tokens
        session.log.on_token = self._note_first_token
        turn.flow = self
        self.task = loop.create_task(self._main(generate))
        # Not a `finally`: a task that is cancelled before its first step never comes to one.
        self.task.add_done_callback(self._done)

    def __repr__(self) -> str:
        return f"<Run of {self.turn}>"

    def abandon(self) -> None:
        """The callback did not end in time: nobody waits for it any more, and what it yields next is its last."""
        logger.warning("the callback of %r has not ended; its session goes on without it", self.turn)
        self.abandoned = True
        self.task.cancel()

    @property
    def tokens(self) -> int:
        """How many it has shown, 0 once that is settled."""
        return 0 if self.settled else self._log.tokens - self._before

    def settle(self) -> int:
        """The turn is over: how many tokens it has shown."""
        self.settled = True
        self._log.on_token = None
        return self._log.tokens - self._before

    def _note_first_token(self) -> None:
        self.first_token = self._loop.time()

    def visit(self, now: float) -> float:
        self._owner.expired(self)
        return inf

    def must_pause(self) -> bool:
        """Whether the reader is too far behind, or other connections have waited long enough."""
        self._burst += 1
        log, flusher = self._log, self._flusher
        return log.written > log.brake or self._burst >= LONGEST_BURST or flusher.clock() > flusher.late_after

    async def pause(self) -> None:
        """Gives the loop back, and waits until the reader has caught up."""
        if self._burst < LONGEST_BURST:
            await asyncio.sleep(0)
        else:
            self._burst = 0
            await self._line.turn()
        await wait_for_room(self.session, lambda: self.turn.over)

    def waiter(self) -> asyncio.Future[Any]:
        """Where the callback waits for an answer."""
        return self._loop.create_future()

    async def _main(self, generate: Generate) -> None:
        turn, log, flusher = self.turn, self._log, self._flusher
        clock = flusher.clock
        try:
            answer: Any = generate(turn)
            if hasattr(answer, "__aiter__"):
                items = aiter(answer)
                try:
                    # Here and not in a coroutine of its own: through that each of its awaits would have to go.
                    async for item in items:
                        if self.abandoned:
                            break
                        try:
                            turn.publish(item)
                            # `must_pause` written out: it is asked for every token.
                            self._burst += 1
                            if log.written > log.brake or self._burst >= LONGEST_BURST or clock() > flusher.late_after:
                                await self.pause()
                        except (Exception, asyncio.CancelledError) as exc:
                            await self._show_instead(items, exc)
                finally:
                    # Nothing is left to close in a generator that has ended by itself.
                    if hasattr(items, "aclose"):
                        await items.aclose()
            elif (result := await answer) is not None:
                raise TypeError(
                    f"a callback that is a coroutine shows by turn.send, but returned {type(result).__name__}"
                )
            self.session.state.save()
            turn.complete("completed")
        except TurnError as exc:
            turn.fail(exc.code, exc.message, retryable=exc.retryable)
        except BaseException as exc:
            # Once the turn is over, a cancellation is what we asked for; before, it came out of the callback.
            if not (turn.over and isinstance(exc, asyncio.CancelledError)):
                logger.exception("the callback of %r failed", turn)
            self._fail()
            if isinstance(exc, KeyboardInterrupt):
                raise
        self._save_state()

    def _fail(self) -> None:
        # What went wrong is for the log of the server.
        self.turn.fail("generation_failed", "the answer could not be generated")

    def _save_state(self) -> None:
        """What the callback left in the state, also where it did not end well."""
        try:
            self.session.state.save()
        except (TypeError, ValueError):
            logger.exception("the state left by the callback of %r cannot be kept; the one before stays", self.turn)

    async def _show_instead(self, items: AsyncIterator[Item], exc: BaseException) -> None:
        """It is suspended at its `yield`: only there it hears of its end, or what it did wrong; and may yield again."""
        shown = await _throw(items, exc)
        while shown is not _NOTHING and not self.abandoned:
            try:
                self.turn.publish(shown)
                if self.must_pause():
                    await self.pause()
                return
            except (Exception, asyncio.CancelledError) as again:
                shown = await _throw(items, again)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not self.turn.over and not task.cancelled():
            # Even telling the failure failed, as where a TurnError was not initialised.
            logger.error("the callback of %r failed", self.turn, exc_info=task.exception())
            self._fail()
        self._owner.ended(self)


async def _throw(items: Any, exc: BaseException) -> Any:
    """Raises `exc` at the `yield` of a callback that has one; what it yields in answer, or `_NOTHING`."""
    if not hasattr(items, "athrow"):
        raise exc
    # One that goes on and on with what cannot be shown must not hold the loop.
    await asyncio.sleep(0)
    try:
        return await items.athrow(exc)
    except StopAsyncIteration:
        return _NOTHING
