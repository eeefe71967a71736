"""Flush by need (decision 4), with writes that can be read one by one."""

from __future__ import annotations

from math import inf

from tests.net.stage import Stage
from wsserver.net.flusher import _BATCH, LONGEST_HOLD


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

    def test_many_that_rested_do_not_wait_for_the_end_of_the_turn(self) -> None:
        stages = [Stage(flush_interval=0.001) for _ in range(_BATCH + 1)]
        for one in stages[1:]:
            one.loop, one.flusher = stages[0].loop, stages[0].flusher
            one.pump._flusher = one.flusher
        for one in stages[:-2]:
            one.token("a")
        assert not any(one.sent() for one in stages)
        for one in stages[-2:]:
            one.token("a")
        assert [one.sent() for one in stages] == [[["a"]]] * _BATCH + [[]]
        stages[0].token("b")
        assert len(stages[0].loop.soon) == 1
        stages[0].loop.turn()
        assert [one.sent() for one in stages] == [[]] * _BATCH + [[["a"]]]
        stages[0].loop.advance(0.001)
        assert stages[0].sent() == [["b"]]

    def test_what_batches_take_in_one_turn_counts_together(self) -> None:
        stages = [Stage(flush_interval=0.001) for _ in range(2 * _BATCH)]
        for one in stages:
            one.loop, one.flusher = stages[0].loop, stages[0].flusher
            one.pump._flusher = one.flusher
            self.make_writes_last(one, 0.0005)
            one.token("a")
        stage = stages[0]
        stage.loop.turn()
        stage.token("b")
        stage.loop.advance(0.001)
        for _ in range(10):
            stage.loop.now += 0.01  # others have their turn
            stage.loop.turn()
        assert stage.sent() == [["a"]], "a fifth of the time: 32 ms went into this flush"
        stage.loop.now += 0.05
        stage.loop.turn()
        assert stage.sent() == [["b"]]

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
