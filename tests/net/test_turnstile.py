"""Who stands in line, and for how long one is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.clock import run_virtually
from wsserver.net.turnstile import SHARE, SLICE, Line, Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """One whose turns are made by hand, and whose clock goes on when something is read."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def turn(self) -> None:
        due, self.soon = self.soon, []
        for call in due:
            call()


class Talker:
    """Has so many slices to be read."""

    def __init__(self, name: str, slices: int, stage: Stage) -> None:
        self.name = name
        self.left = slices
        self._stage = stage

    def read_on(self) -> None:
        self._stage.read.append(self.name)
        self._stage.loop.now += SLICE
        self.left -= 1
        if self.left:
            self._stage.turnstile.stand_in_line(self)


class Stage:
    def __init__(self) -> None:
        self.loop = Loop()
        stand_in: Any = self.loop
        self.turnstile = Turnstile(stand_in, lambda: self.loop.now)
        self.read: list[str] = []

    def talker(self, name: str, slices: int) -> Talker:
        talker = Talker(name, slices, self)
        self.turnstile.stand_in_line(talker)
        return talker


class TestTurnstile:
    def test_who_has_more_to_be_read_stands_behind_the_others(self) -> None:
        stage = Stage()
        for name, slices in (("a", 3), ("b", 1), ("c", 2)):
            stage.talker(name, slices)
        for _ in range(20):
            stage.loop.turn()
        assert stage.read == ["a", "b", "c", "a", "c", "a"]
        assert stage.loop.soon == []

    def test_all_of_them_have_a_share_of_each_turn_of_the_loop(self) -> None:
        stage = Stage()
        for name in "abcdefgh":
            stage.talker(name, 100)
        for _ in range(10):
            before = stage.loop.now
            stage.loop.turn()
            assert 0 < stage.loop.now - before < (SHARE + SLICE) * 1.01

    def test_who_comes_need_not_stand_in_line_until_the_share_is_spent(self) -> None:
        stage = Stage()
        assert stage.turnstile.is_free
        stage.turnstile.spent(SHARE / 2)
        assert stage.turnstile.is_free
        stage.turnstile.spent(SHARE / 2)
        assert not stage.turnstile.is_free
        stage.loop.turn()
        assert stage.turnstile.is_free

    def test_nor_as_long_as_somebody_stands_there(self) -> None:
        stage = Stage()
        stage.talker("a", 2)
        assert not stage.turnstile.is_free
        stage.loop.turn()
        stage.loop.turn()
        assert stage.turnstile.is_free

    def test_who_is_new_comes_before_those_who_send_much(self) -> None:
        stage = Stage()
        stage.talker("a", 3)
        stage.turnstile.stand_in_line(Talker("new", 1, stage), is_new=True)
        for _ in range(5):
            stage.loop.turn()
        assert stage.read == ["new", "a", "a", "a"]

    def test_and_however_many_are_new_they_do_not_keep_the_others_from_being_read(self) -> None:
        stage = Stage()
        stage.talker("a", 3)
        for _ in range(5):
            # More of them than can be read, as when handshakes come in single bytes over many sockets.
            for _ in range(10):
                stage.turnstile.stand_in_line(Talker("new", 1, stage), is_new=True)
            stage.loop.turn()
        assert stage.read.count("a") == 3

    def test_who_stands_there_keeps_its_place_and_who_leaves_is_not_read(self) -> None:
        stage = Stage()
        first, second, third = (stage.talker(name, 1) for name in "abc")
        stage.turnstile.stand_in_line(first)
        stage.turnstile.leave(second)
        stage.turnstile.leave(second)
        assert len(stage.turnstile) == 2
        for _ in range(5):
            stage.loop.turn()
        assert stage.read == ["a", "c"]
        assert third.left == 0


class TestLine:
    def test_of_many_callbacks_few_go_on_in_one_turn_of_the_loop(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            line = Line(loop)
            went: list[int] = []

            async def callback(number: int) -> None:
                for _ in range(3):
                    await line.turn()
                    went.append(number)

            tasks = [asyncio.create_task(callback(number)) for number in range(100)]
            most = 0
            while not all(task.done() for task in tasks):
                before = len(went)
                await asyncio.sleep(0)
                most = max(most, len(went) - before)
            assert most <= 16
            assert sorted(went[:100]) == list(range(100)), "nobody has two turns before everybody has had one"
            assert len(went) == 300

        run_virtually(main())

    def test_a_few_wait_for_nothing_but_the_next_turn(self) -> None:
        async def main() -> None:
            line = Line(asyncio.get_running_loop())
            task = asyncio.create_task(line.turn())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert task.done()

        run_virtually(main())

    def test_who_is_cancelled_keeps_nobody_waiting(self) -> None:
        async def main() -> None:
            line = Line(asyncio.get_running_loop())
            tasks = [asyncio.create_task(line.turn()) for _ in range(50)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.wait(tasks)
            assert [task.cancelled() for task in tasks] == [True, False] * 25
            await asyncio.create_task(line.turn())

        run_virtually(main())
