"""A person without a network: what is shown comes out as short lines, so that tests read like transcripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wsserver.chat.events import Message
from wsserver.chat.log import Cursor
from wsserver.chat.session import Session
from wsserver.config import Config

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from wsserver.chat.turn import Turn

Event = dict[str, Any]

EVERYTHING = 2**62


class Person:
    """The reader of a session: `shown` is what the log brought since the last look, `told` what was not logged."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cursor = Cursor(session.log)
        self.marked = False
        self.woken = 0
        self.full = False
        self._told: list[Event] = []
        session.reader = self

    def wake(self) -> None:
        self.woken += 1

    def send(self, payload: bytes) -> None:
        self._told.append(json.loads(payload))

    def says(self, content: Any, id: str | None = None) -> Turn | None:
        return self.session.take(Message(content, id))

    def asks(self, content: Any, id: str | None = None) -> Turn:
        """Says something that is answered at once."""
        assert self.says(content, id)
        turn = self.session.next_turn()
        assert turn is not None
        return turn

    def events(self, limit: int = EVERYTHING) -> list[Event]:
        return [json.loads(payload) for payload in self.cursor.read(limit)]

    def told(self) -> list[Event]:
        told, self._told = self._told, []
        return told

    @property
    def shown(self) -> list[str]:
        return [line(event) for event in self.events()]


def line(event: Event) -> str:
    """`seq turn event data`, as in `2 1 token value=hello`."""
    data = " ".join(f"{name}={value}" for name, value in event["data"].items())
    return f"{event.get('seq', '-')} {event.get('turn', '-')} {event['event']} {data}".rstrip()


def person(user: str | None = None, **settings: Any) -> Person:
    """Somebody who has just opened a session."""
    return Person(Session(Config(**settings), user))


def finish(session: Session) -> None:
    """What the runner of turns does once a callback has ended."""
    session.turn = None
    session.log.seal()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError(f"{coroutine} waits")


class SlowReader:
    """A pace at which a callback waits after every item, until it is sent on; `waiters` is where it asks."""

    def __init__(self) -> None:
        self.pauses = 0
        self.pausing = True
        self.waiters: list[Answer] = []

    def must_pause(self) -> bool:
        return self.pausing

    async def pause(self) -> None:
        self.pauses += 1
        await self

    def __await__(self) -> Generator[None, None, None]:
        yield

    def waiter(self) -> Answer:
        self.waiters.append(Answer())
        return self.waiters[-1]


class Gate:
    """Where callbacks wait for their reader; counts how often they are let go on."""

    def __init__(self) -> None:
        self.opened = 0

    def set(self) -> None:
        self.opened += 1

    async def wait(self) -> None:
        """Nobody comes here."""


class Answer:
    """What a callback awaits; without a loop, whoever drives it goes on once it is there."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.cancelled = False

    def set_result(self, value: Any, /) -> None:
        self.values.append(value)

    def cancel(self) -> bool:
        self.cancelled = not self.values
        return self.cancelled

    def done(self) -> bool:
        return bool(self.values) or self.cancelled

    def __await__(self) -> Generator[None, None, Any]:
        while not self.done():
            yield
        if self.cancelled:
            raise GivenUp
        return self.values[0]


class GivenUp(BaseException):
    """What a loop calls a cancellation."""
