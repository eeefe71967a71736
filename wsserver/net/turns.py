"""The turns of all sessions: which callback runs, which wait, and how they end from outside.

::

    take ─▶ waiting ─▶ running ─▶ over, by itself: completed or failed
               │          └─▶ over, from outside: stopped, interrupted, a deadline, a lost session, the server's end
               └─▶ over, before it began

A turn that is ended from outside is over at once, with its final event; then its callback is cancelled, and the next
turn waits until that has ended or used up its time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import ClientError
from ..guard.limits import Counts
from .run import Run
from .sockets import GOING_AWAY
from .turnstile import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..chat.events import Message, Stop
    from ..chat.session import Session
    from ..chat.turn import Cause, Turn
    from .run import Generate
    from .sockets import Core

#: The final event of a turn that is ended from outside: status of its `complete`, or code and message of its `error`.
_FINAL: dict[Cause, str | tuple[str, str]] = {
    "stopped": "stopped",
    "interrupted": "interrupted",
    "disconnected": "stopped",
    "timeout": ("turn_timeout", "the answer took too long"),
    "shutdown": ("server_shutdown", GOING_AWAY),
}


class Turns:
    """Begins and ends the turns of a server. `generate` is the application's callback.

    `when_idle` is called for a session in which nothing runs or waits any more.
    """

    def __init__(self, core: Core, generate: Generate, when_idle: Callable[[Session], None]) -> None:
        config = core.config
        self._when_idle = when_idle
        self._users = Counts(config.max_turns_per_user)  # sessions in which something runs or waits, by user
        self._runs: dict[Turn, Run] = {}  # also those whose session goes on without them
        self._generate = generate
        self._config = config
        self._loop = core.loop
        self._sweeper = core.sweeper
        self._flusher = core.flusher
        self._ledger = core.ledger
        self._line = Line(core.loop)

    @property
    def runs(self) -> Collection[Run]:
        """All callbacks that have not ended."""
        return self._runs.values()

    async def all_ended(self) -> None:
        """Returns once no callback runs and none is about to, but for those that nobody waits for any more."""
        while tasks := [run.task for run in self._runs.values() if not run.abandoned]:
            await asyncio.wait(tasks)

    def take(self, session: Session, message: Message, traceparent: str | None = None) -> None:
        """Runs the message, or lets it wait.

        Raises `ClientError` `turn_active`, `queue_full`, `rate_limited` or `overloaded`.
        """
        is_new = session.turn_of(message) is None
        begins = not session.busy and is_new
        if session.busy and is_new and self._config.busy == "queue" and session.log.pool.is_full:
            raise overloaded(message.id)
        if begins and session.user is not None and not self._users.take(session.user):
            raise ClientError(
                "rate_limited", "too many answers of yours are running", retryable=True, ref=message.id, retry_after=1.0
            )
        self._accept(session, message, traceparent)

    def _accept(self, session: Session, message: Message, traceparent: str | None) -> None:
        turn = session.take(message)
        if turn is not None:
            turn.traceparent = traceparent
            self._interrupt(session, turn)
            self._begin_next(session)

    def _interrupt(self, session: Session, turn: Turn) -> None:
        """Ends all others, where that is what a message does."""
        if self._config.busy == "interrupt":
            for older in reversed(list(session.unfinished())):
                if older is not turn:
                    self._end(session, older, "interrupted")

    def stop(self, session: Session, stop: Stop) -> None:
        """Ends what it names, or all. Raises `ClientError` `not_active` where there is nothing to end."""
        turns = [turn for turn in session.unfinished() if _is_meant(turn, stop)]
        if not turns:
            raise ClientError("not_active", "there is nothing to stop", ref=stop.id)
        for turn in reversed(turns):
            self._end(session, turn, "stopped")
            self._ledger.stopped(session, self._loop.time)

    def end_all(self, session: Session, cause: Cause) -> None:
        """Ends all that runs or waits in a session, the newest first: none may begin because another ended."""
        for turn in reversed(list(session.unfinished())):
            self._end(session, turn, cause)

    def expired(self, run: Run) -> None:
        if run.turn.over:
            run.abandon()
            self._go_on(run.session)
        else:
            self._end(run.session, run.turn, "timeout")

    def ended(self, run: Run) -> None:
        self._sweeper.cancel(run)
        del self._runs[run.turn]
        self._settle(run)
        if run.cancelled is not None:
            self._ledger.counters.cancel.observe(self._loop.time() - run.cancelled)
        if not run.abandoned:
            self._go_on(run.session)

    def _begin_next(self, session: Session) -> None:
        turn = session.next_turn()
        if turn is None:
            return
        run = self._runs[turn] = Run(session, turn, self._generate, self, self._flusher, self._line, self._loop)
        self._sweeper.limit(run, self._config.turn_timeout)

    def _end(self, session: Session, turn: Turn, cause: Cause) -> None:
        turn.cause = cause
        if turn is not session.turn:
            session.drop(turn)
        final = _FINAL[cause]
        if isinstance(final, str):
            turn.complete(final)
        else:
            turn.fail(*final, retryable=True)
        self._cancel(session, turn)

    def _cancel(self, session: Session, turn: Turn) -> None:
        run = self._runs.get(turn)
        if run is None:
            self._ledger.turn_over(session, turn, None, self._loop.time())
        else:
            self._settle(run)
            run.cancelled = self._loop.time()
            run.task.cancel()
            self._sweeper.limit(run, self._config.close_timeout)

    def _settle(self, run: Run) -> None:
        """Its turn is over: writes down what it came to, once."""
        if not run.settled:
            self._ledger.turn_over(run.session, run.turn, run, self._loop.time())

    def _go_on(self, session: Session) -> None:
        session.turn = None
        self._begin_next(session)
        if not session.busy:
            self._rest(session)

    def _rest(self, session: Session) -> None:
        """Nothing runs or waits in it any more."""
        if session.user is not None:
            self._users.release(session.user)
        self._when_idle(session)


def overloaded(ref: str | None) -> ClientError:
    """What may not wait is answered with this."""
    return ClientError("overloaded", "memory is short: no message may wait", retryable=True, ref=ref, retry_after=1.0)


def _is_meant(turn: Turn, stop: Stop) -> bool:
    if stop.turn is None and stop.ref is None:
        return True
    return turn.id == stop.turn or (stop.ref is not None and turn.ref == stop.ref)
