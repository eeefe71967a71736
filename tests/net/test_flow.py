"""Flush by need, and the gate (decisions 3, 4 and 5), with writes that can be read one by one."""

from __future__ import annotations

import asyncio
import json
from math import inf
from typing import TYPE_CHECKING, Any

from tests.net.doubles import MockTransport
from wsserver import Config
from wsserver.chat.envelope import encode_event, encode_value, token_template
from wsserver.chat.log import Cursor
from wsserver.chat.session import Session
from wsserver.net.flow import LONGEST_HOLD, Flusher, Pump
from wsserver.wire.frames import BINARY
from wsserver.wire.protocol import CHUNK_SIZE, Protocol

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


class TestFlushByNeed:
    def test_the_first_event_after_an_idle_moment_leaves_at_the_end_of_the_turn_of_the_loop(self) -> None:
        stage = Stage()
        stage.token("a")
        assert stage.sent() == []
        stage.loop.turn()
        assert stage.sent() == [["a"]]

    def test_what_follows_within_the_interval_leaves_together_each_in_its_frame(self) -> None:
        stage = Stage(flush_interval=0.001)
        stage.token("a")
        stage.loop.turn()
        stage.sent()
        for text in "bcd":
            stage.loop.advance(0.0002)
            stage.token(text)
            stage.loop.turn()
        assert stage.sent() == []
        stage.loop.advance(0.001)
        assert stage.sent() == [["b", "c", "d"]]

    def test_no_event_waits_longer_than_the_interval(self) -> None:
        stage = Stage(flush_interval=0.001)
        stage.token("a")
        stage.loop.turn()
        stage.loop.advance(0.0009)
        stage.token("b")
        [(due, _)] = stage.loop.later
        assert due <= stage.loop.now + 0.001

    def test_one_timer_serves_all_connections(self) -> None:
        stage, other = self.pair()
        for one in (stage, other):
            one.token("a")
        stage.loop.turn()
        for one in (stage, other):
            one.token("b")
        assert len(stage.loop.later) == 1
        stage.loop.advance(0.001)
        assert (stage.sent(), other.sent()) == ([["a"], ["b"]], [["a"], ["b"]])

    def test_who_has_rested_does_not_wait_for_those_who_have_not(self) -> None:
        stage, other = self.pair()
        stage.token("a")
        stage.loop.turn()
        stage.token("b")
        other.token("c")
        stage.loop.turn()
        assert (stage.sent(), other.sent()) == ([["a"]], [["c"]])
        stage.loop.advance(0.001)
        assert (stage.sent(), other.sent()) == ([["b"]], [])

    def test_a_callback_that_holds_the_loop_hears_of_the_first_flush_that_is_late(self) -> None:
        stage, other = self.pair()
        flusher = stage.flusher
        stage.token("a")
        assert flusher.late_after == stage.loop.now + LONGEST_HOLD
        stage.loop.turn()
        assert flusher.late_after == inf
        stage.token("b")
        gathered = stage.loop.now + 0.001
        assert flusher.late_after == gathered + LONGEST_HOLD
        other.token("c")
        assert flusher.late_after == stage.loop.now + LONGEST_HOLD
        stage.loop.turn()
        assert flusher.late_after == gathered + LONGEST_HOLD
        stage.loop.now += 0.001
        other.token("d")
        stage.loop.advance(0.0005)
        assert flusher.late_after <= stage.loop.now + LONGEST_HOLD
        stage.loop.turn()
        assert flusher.late_after == inf

    def test_a_short_flush_between_long_ones_does_not_end_their_pause(self) -> None:
        stage, other = self.pair()
        self.make_writes_last(stage, 0.01)
        stage.token("a")
        stage.loop.turn()
        stage.loop.now += 0.01
        other.token("b")
        stage.loop.turn()
        assert other.sent() == [["b"]]
        stage.token("c")
        stage.loop.turn()
        assert stage.sent() == [["a"]]
        stage.loop.now += 0.05
        stage.token("d")
        stage.loop.advance(0.001)
        assert stage.sent() == [["c", "d"]]

    def pair(self) -> tuple[Stage, Stage]:
        """Two connections of one loop."""
        stage, other = Stage(flush_interval=0.001), Stage(flush_interval=0.001)
        other.loop, other.flusher = stage.loop, stage.flusher
        other.pump._flusher = stage.flusher
        return stage, other

    def test_an_interval_of_0_flushes_at_the_end_of_every_turn(self) -> None:
        stage = Stage(flush_interval=0)
        for text in "abc":
            stage.loop.advance(1e-6)
            stage.token(text)
            stage.loop.turn()
        assert stage.sent() == [["a"], ["b"], ["c"]]

    def test_where_a_flush_takes_long_a_busy_loop_gathers_more_for_the_next(self) -> None:
        stage = Stage(flush_interval=0.001)
        self.make_writes_last(stage, 0.01)
        stage.token("a")
        stage.loop.turn()
        stage.token("b")
        for text in "cdef":
            stage.loop.advance(0.005)
            stage.token(text)
            stage.loop.now += 0.004  # others have their turn
            stage.loop.turn()
        assert stage.sent() == [["a"]]
        stage.loop.now += 0.01
        stage.loop.turn()
        assert stage.sent() == [["b", "c", "d", "e", "f"]]

    def test_and_one_that_has_nothing_else_to_do_does_not(self) -> None:
        stage = Stage(flush_interval=0.001)
        self.make_writes_last(stage, 0.01)
        stage.token("a")
        stage.loop.turn()
        stage.token("b")
        stage.loop.advance(0.001)
        stage.loop.advance(0.00001)
        stage.loop.turn()
        assert stage.sent() == [["a"], ["b"]]

    def test_who_wants_every_frame_at_once_gets_it_whatever_it_costs(self) -> None:
        stage = Stage(flush_interval=0)
        self.make_writes_last(stage, 0.01)
        for text in "ab":
            stage.loop.advance(1e-6)
            stage.token(text)
            stage.loop.turn()
        assert stage.sent() == [["a"], ["b"]]

    def make_writes_last(self, stage: Stage, seconds: float) -> None:
        write = stage.transport.write

        def slowly(data: bytes | bytearray | memoryview) -> None:
            stage.loop.now += seconds
            write(data)

        stage.transport.write = slowly  # type: ignore[method-assign]

    def test_a_flush_that_is_held_up_can_be_seen(self) -> None:
        stage = Stage(flush_interval=0.001)
        assert stage.flusher.late_after > stage.loop.now + 1000
        stage.token("a")
        assert stage.loop.now < stage.flusher.late_after < stage.loop.now + 0.01
        stage.loop.turn()
        assert stage.flusher.late_after > stage.loop.now + 1000


class TestOneWayOut:
    def test_no_write_is_longer_than_a_chunk(self) -> None:
        stage = Stage()
        stage.protocol.send(BINARY, bytes(300_000))
        stage.pump.run()
        assert max(map(len, stage.transport.writes)) <= CHUNK_SIZE
        assert sum(map(len, stage.transport.writes)) == 300_000 + 10

    def test_many_events_go_in_chunks_of_whole_frames(self) -> None:
        stage = Stage(soft_limit=2**20)
        for number in range(3000):
            stage.token(f"token {number}")
        stage.pump.run()
        assert len(stage.transport.writes) > 3
        assert max(map(len, stage.transport.writes)) <= CHUNK_SIZE
        assert "".join(value for write in stage.sent() for value in write) == "".join(
            f"token {number}" for number in range(3000)
        )

    def test_what_is_not_logged_keeps_its_place_behind_what_was_published(self) -> None:
        stage = Stage()
        stage.token("a")
        stage.pump.send(encode_event("status", {}, "s"))
        stage.token("b")
        stage.pump.run()
        assert stage.sent() == [["a", "status"], ["b"]]

    def test_after_the_connection_is_lost_nothing_is_written(self) -> None:
        stage = Stage()
        stage.token("a")
        stage.pump.detach()
        stage.loop.turn()
        assert stage.sent() == []
        assert stage.session.reader is None


class TestGate:
    def test_while_the_transport_holds_bytes_nothing_more_is_given_to_it(self) -> None:
        stage = Stage()
        stage.transport.room = 100
        stage.token("a" * 200)
        stage.pump.run()
        stage.token("b")
        stage.pump.run()
        assert stage.sent() == [["a" * 200]]
        stage.transport.drain()
        assert stage.sent() == [["b"]]

    def test_a_callback_waits_beyond_the_soft_limit_and_goes_on_when_the_reader_has_caught_up(self) -> None:
        stage = Stage(soft_limit=1000)
        log = stage.session.log
        stage.transport.room = 0
        stage.token("first")
        stage.pump.run()
        gate = stage.session.gate = asyncio.Event()
        while log.written <= log.brake:
            stage.token("x" * 100)
        assert log.written - 1000 < 1000
        stage.transport.drain()
        assert log.written <= log.brake
        assert gate.is_set()
        assert stage.session.gate is None

    def test_progress_of_unsent_bytes_shows(self) -> None:
        stage = Stage()
        stage.transport.room = 50
        stage.token("a" * 200)
        stage.pump.run()
        assert stage.pump.taken == 50
        stage.transport.buffered -= 30
        assert stage.pump.taken == 80

    def test_a_reader_that_is_behind_is_full(self) -> None:
        stage = Stage(soft_limit=100)
        stage.transport.room = 0
        stage.token("fills the transport")
        stage.pump.run()
        assert not stage.pump.full
        stage.pump.send(encode_event("status", {"x": "y" * 100}, "s"))
        assert stage.pump.full
