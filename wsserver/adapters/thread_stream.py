"""The way of items from a generator in its thread to the loop.

::

    thread: next(generator) ─▶ put ─▶ at most `look_ahead` items ─▶ take ─▶ the turn :loop
                               waits where there are so many         waits where there is none

An item wakes the loop only where the loop waits for one: in a burst hardly any does.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from ..errors import TurnError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable
    from types import TracebackType

    from .threads import Threads

T = TypeVar("T")

logger = logging.getLogger(__name__)


def overloaded() -> TurnError:
    """What a turn ends with that finds no thread."""
    return TurnError("overloaded", "too many answers are being generated; try again soon", retryable=True)


class Stream(Generic[T]):
    """The items of one generator, for one task. Leaving its block closes the generator, and waits for its thread."""

    def __init__(self, threads: Threads, function: Callable[[], Iterable[T]], name: str) -> None:
        self.value: Any = None
        """What the generator returned; None until it has ended by itself."""
        self._threads = threads
        self._function = function
        self._name = name
        self._half = threads.look_ahead // 2  # a thread that waits for room waits for enough to be worth waking
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # for all that follows
        self._changed = threading.Condition(self._lock)  # here the thread waits
        self._waiter: asyncio.Future[None] | None = None  # here the loop waits; who takes it away wakes the loop
        self._items: deque[T | _Call] = deque()
        self._closed = False  # nobody reads on
        self._ended = False  # the thread has nothing more to do
        self._orphan = False  # counted as one
        self._abandoned = False  # nobody waits for its end any more
        self._error: BaseException | None = None  # what it ended with, until that is raised

    def __repr__(self) -> str:
        return f"<Stream of {self._name}{' closed' if self._closed else ''}{' ended' if self._ended else ''}>"

    async def __aenter__(self) -> Self:
        self._threads.take()
        run = contextvars.copy_context().run
        thread = threading.Thread(target=run, args=(self._run,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # the system gives no more
            self._threads.release(orphan=False)
            raise overloaded() from exc
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            with self._lock:
                if self._items:
                    item = self._items.popleft()
                    waiter = None
                    if len(self._items) == self._half:
                        self._changed.notify_all()
                elif self._ended:
                    self._raise()
                    raise StopAsyncIteration
                else:
                    waiter = self._waiter = self._loop.create_future()
            if waiter is not None:
                await waiter
            elif isinstance(item, _Call):
                await self._answer(item)
            else:
                return item

    async def aclose(self) -> None:
        """Returns once the generator was closed and its thread has ended. Raises what closing it raised.

        Where this is cancelled, the thread is left to itself; it keeps its place until it has ended.
        """
        with self._lock:
            if not (self._closed or self._ended):
                self._orphan = True
                self._threads.orphan()
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
        try:
            while (waiter := self._waiter_for_end()) is not None:
                await waiter
        except asyncio.CancelledError:
            with self._lock:
                self._abandoned = not self._ended
            if self._abandoned:
                logger.warning("%s does not end: its thread keeps its place until it does", self._name)
            raise
        self._raise()

    def _waiter_for_end(self) -> asyncio.Future[None] | None:
        with self._lock:
            self._waiter = None if self._ended else self._loop.create_future()
            return self._waiter

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _answer(self, call: _Call) -> None:
        try:
            call.result = await call.work()
        except Exception as exc:
            call.error = exc
        # A cancellation goes on to whoever reads; the thread hears of it when the stream is closed.
        with self._lock:
            call.done = True
            self._changed.notify_all()

    # -- in the thread -------------------------------------------------------------------------------------------

    def put(self, item: T | _Call) -> bool:
        """Hands over an item, and waits while too many wait to be read. False if nobody reads on."""
        with self._lock:
            if self._closed:
                return False
            self._items.append(item)
            waiter, self._waiter = self._waiter, None
            full = len(self._items) >= self._threads.look_ahead
        # Not under the lock: this may let the loop run, which would then wait for it.
        self._wake(waiter)
        if full:
            with self._changed:
                self._changed.wait_for(lambda: len(self._items) <= self._half or self._closed)
        return not self._closed

    def call(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Has the loop await `work()`, once all items before it were read; returns or raises what it does.

        Raises `asyncio.CancelledError` if nobody reads on.
        """
        call = _Call(work)
        if self.put(call):
            with self._changed:
                self._changed.wait_for(lambda: call.done or self._closed)
        if not call.done:
            raise asyncio.CancelledError
        if call.error is not None:
            raise call.error
        return call.result

    def _run(self) -> None:
        error = None
        items = self._relay()
        try:
            for item in items:
                if not self.put(item):
                    break
            items.close()
        except BaseException as exc:
            error = exc
        self._end(error)

    def _relay(self) -> Generator[T, None, None]:
        # Any iterable may stand here; only a generator returns something.
        self.value = yield from cast("Generator[T, None, Any]", self._function())

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            self._ended = True
            waiter, self._waiter = self._waiter, None
            self._threads.release(orphan=self._orphan)
            if self._closed and isinstance(error, asyncio.CancelledError):
                error = None  # only what it was told by `call`
            if not self._abandoned:
                self._error, error = error, None
        self._wake(waiter)
        if error is not None:
            logger.error("%s failed after nobody waited for it any more", self._name, exc_info=error)

    def _wake(self, waiter: asyncio.Future[None] | None) -> None:
        if waiter is None:
            return
        try:
            self._loop.call_soon_threadsafe(_resolve, waiter)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            self._closed = True  # the reader has gone with its loop


class _Call:
    """What the loop does for the thread."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.work = work
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
