"""The one timer: visits come not before their deadline and at most one tick after it."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from wsserver.net.sweeper import TICK, Sweeper

if TYPE_CHECKING:
    from collections.abc import Iterator


class Item:
    """Notes its visits; `next` are the deadlines it answers with."""

    def __init__(self, *next_due: float) -> None:
        self.due = inf
        self.visits: list[float] = []
        self._next = list(next_due)

    def visit(self, now: float) -> float:
        self.visits.append(now)
        return self._next.pop(0) if self._next else inf


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One that does not run: visits are made by hand."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_a_visit_comes_within_a_tick_of_its_deadline() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sweeper = Sweeper(loop)
        sweeper.start()
        items = {due: Item() for due in (0.0, 0.1, TICK, 1.0, 1.01, 7.3)}
        for due, item in items.items():
            sweeper.schedule(item, due)
        await asyncio.sleep(10)
        for due, item in items.items():
            [visited] = item.visits
            assert due <= visited <= due + TICK + 0.01 or due == 0.0
        sweeper.stop()

    run_virtually(main())


def test_a_server_that_starts_between_two_ticks_is_as_exact() -> None:
    async def main() -> None:
        await asyncio.sleep(TICK * 0.96)
        sweeper = Sweeper(asyncio.get_running_loop())
        sweeper.start()
        items = {due: Item() for due in (0.26, 0.49, 0.5, 0.51, 1.3)}
        for due, item in items.items():
            sweeper.schedule(item, due)
        await asyncio.sleep(10)
        for due, item in items.items():
            assert due <= item.visits[0] <= due + TICK + 0.01
        sweeper.stop()

    run_virtually(main())


def test_nothing_is_kept_of_what_was_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    sweeper = Sweeper(loop)
    items = [Item() for _ in range(100)]
    for item in items:
        sweeper.schedule(item, 600)
        sweeper.schedule(item, 300)
    assert len(sweeper) == 100
    for item in items:
        sweeper.cancel(item)
    assert len(sweeper) == 0


def test_only_the_newest_plan_counts() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sweeper = Sweeper(loop)
        sweeper.start()
        earlier, later, cancelled = Item(), Item(), Item()
        sweeper.schedule(earlier, 5)
        sweeper.schedule(earlier, 2)
        sweeper.schedule(later, 2)
        sweeper.schedule(later, 5)
        sweeper.schedule(cancelled, 2)
        sweeper.cancel(cancelled)
        await asyncio.sleep(10)
        assert [int(now) for now in earlier.visits] == [2]
        assert [int(now) for now in later.visits] == [5]
        assert cancelled.visits == []
        assert len(sweeper) == 0
        sweeper.stop()

    run_virtually(main())


def test_a_visit_says_when_the_next_one_is_due() -> None:
    async def main() -> None:
        sweeper = Sweeper(asyncio.get_running_loop())
        sweeper.start()
        item = Item(2, 3)
        sweeper.schedule(item, 1)
        await asyncio.sleep(10)
        assert [round(now) for now in item.visits] == [1, 2, 3]
        sweeper.stop()

    run_virtually(main())


def test_a_visit_that_fails_harms_no_other_and_comes_again(
    caplog: pytest.LogCaptureFixture, loop: asyncio.AbstractEventLoop
) -> None:
    class Failing(Item):
        def visit(self, now: float) -> float:
            raise RuntimeError("oops")

    sweeper = Sweeper(loop)
    failing, item = Failing(), Item()
    sweeper.schedule(failing, 1)
    sweeper.schedule(item, 1)
    with caplog.at_level(logging.ERROR):
        sweeper.sweep(2)
    assert item.visits == [2]
    assert failing.due == 3
    assert "oops" in caplog.text


def test_a_limit_counts_from_now_and_0_is_none() -> None:
    async def main() -> None:
        sweeper = Sweeper(asyncio.get_running_loop())
        await asyncio.sleep(100)
        sweeper.start()
        limited, unlimited = Item(), Item()
        for item in (limited, unlimited):
            sweeper.schedule(item, 101)
        sweeper.limit(limited, 3)
        sweeper.limit(unlimited, 0)
        await asyncio.sleep(10)
        assert [round(now) for now in limited.visits] == [103]
        assert unlimited.visits == []
        sweeper.stop()

    run_virtually(main())


def test_a_clock_that_jumped_loses_no_visit(loop: asyncio.AbstractEventLoop) -> None:
    sweeper = Sweeper(loop)
    items = [Item() for _ in range(10)]
    for number, item in enumerate(items):
        sweeper.schedule(item, number * 100)
    sweeper.sweep(10_000)
    assert [item.visits for item in items] == [[10_000]] * 10
    late = Item()
    sweeper.schedule(late, 5)  # long past: the next sweep has it
    sweeper.sweep(10_000 + TICK)
    assert len(late.visits) == 1


class Slow(Item):
    """Its visits take so long."""

    def __init__(self, clock: list[float], *next_due: float) -> None:
        super().__init__(*next_due)
        self._clock = clock

    def visit(self, now: float) -> float:
        self._clock[0] += 0.001
        return super().visit(now)


def test_others_have_their_turn_between_thousands_of_visits() -> None:
    async def main() -> None:
        loop, clock = asyncio.get_running_loop(), [0.0]
        sweeper = Sweeper(loop, clock=lambda: clock[0])
        sweeper.start()
        items = [Slow(clock, 2.0) for _ in range(1000)]
        for item in items:
            sweeper.schedule(item, 1.0)
        longest = visited = 0
        while visited < len(items):
            await asyncio.sleep(0 if visited else TICK)
            longest = max(longest, sum(len(item.visits) for item in items) - visited)
            visited = sum(len(item.visits) for item in items)
        assert longest <= 10
        await asyncio.sleep(2)
        assert [len(item.visits) for item in items] == [2] * 1000, "the timer goes on behind them"
        sweeper.stop()

    run_virtually(main())


def test_who_is_stopped_between_two_visits_makes_no_other() -> None:
    async def main() -> None:
        loop, clock = asyncio.get_running_loop(), [0.0]
        sweeper = Sweeper(loop, clock=lambda: clock[0])
        sweeper.start()
        items = [Slow(clock) for _ in range(100)]
        for item in items:
            sweeper.schedule(item, 0.1)
        await asyncio.sleep(TICK)
        sweeper.stop()
        visited = sum(len(item.visits) for item in items)
        assert 0 < visited < 100
        await asyncio.sleep(5)
        assert sum(len(item.visits) for item in items) == visited

    run_virtually(main())
