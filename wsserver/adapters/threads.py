"""Any synchronous generator as a callback: it runs in a thread of its own, and its items come to the loop.

A thread cannot be killed. A generator whose turn is over is closed: it hears of it as `GeneratorExit` at its `yield`,
in its own thread, once it gets there. Until it has ended it keeps its place, so that those that hang cannot pile up:
where all places are taken, a turn ends with `overloaded`.
"""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConfigError
from .sync_turn import SyncTurn
from .thread_stream import Stream, overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from ..chat.events import Item
    from ..chat.turn import Turn

__all__ = ["Callback", "Stream", "SyncTurn", "Threads", "callback"]

T = TypeVar("T")

#: How many generators run at the same time, and how many items each may be ahead of its reader.
MAX_THREADS = 100
LOOK_AHEAD = 64


def callback(
    function: Callable[[SyncTurn], Iterable[Item]], *, max_threads: int = MAX_THREADS, look_ahead: int = LOOK_AHEAD
) -> Callback:
    """The callback that shows what `function(turn)` yields, a generator function that need not know of asyncio.

    `max_threads` of them run at the same time; one more turn ends with the error `overloaded`, which is retryable.
    Each may be `look_ahead` items ahead of its reader. Raises `ConfigError` for a function that is async, and for a
    number below 1.
    """
    if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
        raise ConfigError(f"{_name(function)!r} is async, so it needs no thread: give it to the server as it is")
    return Callback(function, Threads(max_threads, look_ahead=look_ahead))


class Callback:
    """What `callback` returns. `threads` tells how many run."""

    def __init__(self, function: Callable[[SyncTurn], Iterable[Item]], threads: Threads) -> None:
        self.threads = threads
        self.__name__ = _name(function)
        self._function = function

    async def __call__(self, turn: Turn) -> AsyncIterator[Item]:
        items: Stream[Item]
        items = self.threads.iterate(
            lambda: self._function(SyncTurn(turn, items)), f"turn {turn.id} of {turn.session.id}"
        )
        async with items:
            async for item in items:
                yield item


class Threads:
    """A bounded number of daemon threads, one for each generator that runs; any loop may use them."""

    def __init__(self, max_threads: int = MAX_THREADS, *, look_ahead: int = LOOK_AHEAD) -> None:
        """Raises `ConfigError` for a number below 1."""
        if max_threads < 1 or look_ahead < 1:
            raise ConfigError(f"max_threads and look_ahead must be 1 or more, not {max_threads} and {look_ahead}")
        self.max_threads = max_threads
        self.look_ahead = look_ahead
        self.running = 0
        self.orphans = 0
        """Of those that run, the ones that nobody reads any more: told to end, they have not yet."""
        self._lock = threading.Lock()

    def iterate(self, function: Callable[[], Iterable[T]], name: str | None = None) -> Stream[T]:
        """What `function()` yields, read on the running loop::

            async with threads.iterate(lambda: pipeline.stream(question)) as items:
                async for item in items:
                    ...
            result = items.value

        Function and generator run in one thread, with a copy of the context variables. What they raise is raised
        here, behind the items before it. Entering raises `TurnError` `overloaded` where all places are taken. `name`
        is that of the thread.
        """
        return Stream(self, function, name or _name(function))

    def take(self) -> None:
        """A place for one more. Raises `TurnError`."""
        with self._lock:
            if self.running >= self.max_threads:
                raise overloaded()
            self.running += 1

    def orphan(self) -> None:
        """One of those that run is read no more."""
        with self._lock:
            self.orphans += 1

    def release(self, *, orphan: bool) -> None:
        """One has ended."""
        with self._lock:
            self.running -= 1
            self.orphans -= orphan


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", function))
