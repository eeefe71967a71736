"""A pump on a loop that is turned by hand, with writes that can be read one by one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.net.doubles import MockTransport
from wsserver import Config
from wsserver.chat.envelope import encode_value, token_template
from wsserver.chat.log import Cursor
from wsserver.chat.session import Session
from wsserver.net.flow import Pump
from wsserver.net.flusher import Flusher
from wsserver.wire.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeLoop:
    """Only the clock and the calls that were planned."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        self.later.append((self.now + delay, call))

    def turn(self) -> None:
        """The end of a turn of the loop."""
        calls, self.soon = self.soon, []
        for call in calls:
            call()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [call for when, call in self.later if when <= self.now]
        self.later = [(when, call) for when, call in self.later if when > self.now]
        for call in due:
            call()


class Stage:
    """A pump that reads a session into a mock transport."""

    def __init__(self, **settings: Any) -> None:
        self.config = Config(**settings)
        self.loop = FakeLoop()
        self.transport = MockTransport()
        self.protocol = Protocol(2**20)
        loop: Any = self.loop
        self.flusher = Flusher(loop, self.config.flush_interval, self.loop.time)
        self.pump = Pump(self.transport, self.protocol, self.flusher, self.config)
        self.transport.on_pause = lambda: setattr(self.pump, "paused", True)
        self.transport.on_resume = self.resume
        self.session = Session(self.config)
        self.template = token_template(self.session.id, 1)
        self.pump.attach(self.session, Cursor(self.session.log))

    def resume(self) -> None:
        self.pump.paused = False
        self.pump.run()

    def token(self, text: str) -> None:
        self.session.log.append_token(self.template, encode_value(text)[1:-1])
        self.pump.wake()

    def sent(self) -> list[list[Any]]:
        """For each write the values of its tokens, or the names of its other events."""
        writes = [[_show(payload) for payload in frames(data)] for data in self.transport.writes]
        self.transport.writes.clear()
        return writes


def frames(data: bytes) -> list[bytes]:
    payloads = []
    while data:
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        payloads.append(data[start : start + length])
        data = data[start + length :]
    return payloads


def _show(payload: bytes) -> Any:
    event = json.loads(payload)
    return event["data"].get("value", event["event"])
