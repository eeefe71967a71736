"""How workers are kept alive, rolled and ended, in virtual time; with real processes in tests/integration."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from tests.net.puppets import Puppet
from wsserver import Config
from wsserver.net.workers.supervisor import StartFailed, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


class Stage:
    """A supervisor, and the puppets that it has started, in order."""

    def __init__(self, workers: int, **settings: float) -> None:
        self.config = Config(workers=workers, resume_ttl=0, **settings)  # type: ignore[arg-type]
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
        self.puppets: list[Puppet] = []
        self.serves_at_once = True
        self.fails_to_start = False
        self.obedient = True
        self.supervisor = Supervisor(self.config, [[listener] for listener in self.listeners], self._start)
        self.hurry, self.kill = asyncio.Event(), asyncio.Event()

    def _start(self, index: int, listeners: Sequence[socket.socket]) -> Puppet:
        assert list(listeners) == [self.listeners[index]]
        assert self.listeners[index].fileno() >= 0, "its socket is open as long as there may be workers"
        if self.fails_to_start:
            raise OSError("no more processes")
        puppet = Puppet(index, 100 + len(self.puppets), self.obedient)
        self.puppets.append(puppet)
        if self.serves_at_once:
            puppet.serve()
        return puppet

    def serving(self) -> list[Puppet | None]:
        return [slot.worker for slot in self.supervisor.slots]  # type: ignore[misc]

    def die(self, puppet: Puppet, status: int) -> None:
        puppet.die(status)
        self.supervisor.reap()

    async def end(self) -> None:
        await self.supervisor.end(self.hurry, self.kill)
        assert all(puppet.gone.is_set() for puppet in self.puppets)
        assert all(listener.fileno() == -1 for listener in self.listeners)


def now() -> float:
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Whatever is left to do is done, short of waiting."""
    for _ in range(20):
        await asyncio.sleep(0)


def play(script: Callable[[Stage], Coroutine[None, None, None]], workers: int = 2, **settings: float) -> None:
    async def main() -> None:
        stage = Stage(workers, **settings)
        await script(stage)
        await stage.end()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(main())


@pytest.fixture(autouse=True)
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is as long as it may be."""
    monkeypatch.setattr("wsserver.net.workers.supervisor.random", lambda: 1.0)


class TestStart:
    def test_the_first_comes_first(self) -> None:
        async def script(stage: Stage) -> None:
            stage.serves_at_once = False
            starting = asyncio.create_task(stage.supervisor.start())
            await settle()
            [first] = stage.puppets
            assert stage.supervisor.unready() == "0 of 3 workers are ready"
            first.serve()
            await settle()
            assert [puppet.index for puppet in stage.puppets] == [0, 1, 2]
            assert not starting.done()
            stage.puppets[2].serve()
            await settle()
            assert not starting.done()
            assert stage.supervisor.unready() == "2 of 3 workers are ready"
            stage.puppets[1].serve()
            await starting
            assert stage.supervisor.unready() is None

        play(script, 3)

    @pytest.mark.parametrize("status, own, said", [(2, 2, False), (3, 3, True), (0, 1, True), (-9, 1, True)])
    def test_without_the_first_there_is_none(
        self, status: int, own: int, said: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def script(stage: Stage) -> None:
            stage.serves_at_once = False
            starting = asyncio.create_task(stage.supervisor.start())
            await settle()
            stage.die(stage.puppets[0], status)
            with pytest.raises(StartFailed) as failed:
                await starting
            assert failed.value.status == own
            assert len(stage.puppets) == 1

        play(script)
        assert ("before it served anybody" in caplog.text) == said

    def test_another_one_that_fails_is_tried_again(self) -> None:
        async def script(stage: Stage) -> None:
            stage.serves_at_once = False
            starting = asyncio.create_task(stage.supervisor.start())
            await settle()
            stage.puppets[0].serve()
            await settle()
            stage.die(stage.puppets[1], 2)
            await starting
            await settle()
            assert len(stage.puppets) == 3

        play(script)

    def test_where_no_process_can_be_started(self, caplog: pytest.LogCaptureFixture) -> None:
        async def script(stage: Stage) -> None:
            stage.fails_to_start = True
            with pytest.raises(StartFailed):
                await stage.supervisor.start()

        play(script)
        assert "no process can be started: no more processes" in caplog.text


class TestDeath:
    def test_each_time_the_pause_is_longer_and_the_others_stay(self, caplog: pytest.LogCaptureFixture) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            other = stage.serving()[1]
            for pause in (0, 0.5, 1, 2, 4, 8, 16, 30, 30):
                count, began = len(stage.puppets), now()
                dead = stage.puppets[-1] if count > 2 else stage.puppets[0]
                stage.die(dead, -11)
                await settle()
                if pause:
                    assert len(stage.puppets) == count
                    assert stage.supervisor.unready() == "1 of 2 workers are ready"
                await asyncio.sleep(pause + 0.01)
                assert len(stage.puppets) == count + 1, "at most that long"
                assert stage.puppets[-1].index == 0
                assert stage.puppets[-1].since - began == pytest.approx(pause)
            await asyncio.sleep(60)
            began = now()
            stage.die(stage.puppets[-1], 1)
            await settle()
            assert stage.puppets[-1].since == began, "it was well for a while"
            assert stage.serving()[1] is other

        play(script)
        assert "worker 0 (process 100) was killed by SIGSEGV; starting another one at once" in caplog.text
        assert "was killed by SIGSEGV; starting another one in 0.5 s" in caplog.text

    def test_one_that_leaves_by_itself_ends_beside_its_successor(self) -> None:
        async def script(stage: Stage) -> None:
            stage.obedient = False
            await stage.supervisor.start()
            leaves = stage.puppets[1]
            leaves.leaving.set()
            await settle()
            assert [puppet.index for puppet in stage.puppets] == [0, 1, 1]
            assert stage.serving()[1] is stage.puppets[2]
            assert leaves in stage.supervisor.workers
            stage.die(leaves, 0)
            await settle()
            assert leaves not in stage.supervisor.workers
            for puppet in stage.puppets:
                puppet.obedient = True

        play(script)

    def test_one_that_cannot_be_started_is_tried_again(self) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            stage.fails_to_start = True
            stage.die(stage.puppets[0], 1)
            await asyncio.sleep(5)
            stage.fails_to_start = False
            await asyncio.sleep(5)
            assert stage.supervisor.unready() is None

        play(script)


class TestRoll:
    def test_one_after_the_other_each_once_its_successor_serves(self) -> None:
        async def script(stage: Stage) -> None:
            stage.obedient = False
            await stage.supervisor.start()
            old = tuple(stage.puppets)
            stage.serves_at_once = False
            stage.supervisor.roll()
            for index in (0, 1):
                await settle()
                successor = stage.puppets[-1]
                assert successor.index == index
                assert not old[index].fate.signals, "it serves as long as its successor does not"
                assert stage.supervisor.unready() is None
                successor.serve()
                await settle()
                assert old[index].fate.signals == [signal.SIGTERM]
                assert stage.serving()[index] is successor
                assert len(stage.puppets) == 3 + index, "the next one has its turn when this one has ended"
                stage.die(old[index], 0)
            await settle()
            assert stage.serving() == stage.puppets[2:]
            assert [slot.restarts for slot in stage.supervisor.slots] == [0, 0]
            for puppet in stage.puppets:
                puppet.obedient = True

        play(script)

    def test_one_that_does_not_start_ends_it(self, caplog: pytest.LogCaptureFixture) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            old = stage.serving()
            stage.serves_at_once = False
            stage.supervisor.roll()
            await settle()
            stage.die(stage.puppets[-1], 2)
            await settle()
            assert stage.serving() == old
            assert len(stage.puppets) == 3
            stage.serves_at_once = True
            stage.supervisor.roll()
            await settle()
            assert stage.serving() == stage.puppets[3:]
            stage.fails_to_start = True
            stage.supervisor.roll()
            await settle()
            assert stage.serving() == stage.puppets[3:]

        play(script)
        assert (
            "worker 0 (process 102) ended with status 2 before it served anybody: the old workers stay" in caplog.text
        )
        assert "worker 0 cannot be replaced, the others stay: no more processes" in caplog.text

    def test_one_that_hangs_in_its_start_gives_way_to_the_next_roll(self) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            stage.serves_at_once = False
            stage.supervisor.roll()
            await asyncio.sleep(1000)
            hanging = stage.puppets[-1]
            assert not hanging.gone.is_set()
            stage.serves_at_once = True
            stage.supervisor.roll()
            await settle()
            assert hanging.gone.is_set()
            assert stage.serving() == stage.puppets[3:]

        play(script)

    def test_another_one_meanwhile_begins_it_anew(self) -> None:
        async def script(stage: Stage) -> None:
            stage.obedient = False
            await stage.supervisor.start()
            stage.supervisor.roll()
            await settle()
            stage.supervisor.roll()
            for puppet in stage.puppets:
                puppet.obedient = True
            stage.obedient = True
            stage.die(stage.puppets[0], 0)
            await settle()
            # Two at first, two by what had begun, or one and the other not any more, then two by the second.
            assert stage.serving() == stage.puppets[-2:]
            assert [puppet.index for puppet in stage.puppets[-2:]] == [0, 1]

        play(script)

    def test_an_old_one_that_dies_meanwhile_is_replaced_once(self) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            stage.serves_at_once = False
            stage.supervisor.roll()
            await settle()
            successor = stage.puppets[-1]
            stage.die(stage.puppets[0], -9)
            await settle()
            again = stage.puppets[-1]
            assert again.index == 0 and again is not successor
            stage.serves_at_once = True
            successor.serve()
            await settle()
            assert stage.serving()[0] is successor
            assert again.gone.is_set()

        play(script)

    def test_a_successor_that_dies_is_replaced(self) -> None:
        async def script(stage: Stage) -> None:
            stage.obedient = False
            await stage.supervisor.start()
            stage.supervisor.roll()
            await settle()
            successor = stage.puppets[-1]
            stage.die(successor, -9)
            await settle()
            assert stage.serving()[0] is stage.puppets[-1] is not successor
            for puppet in stage.puppets:
                puppet.obedient = True
                if puppet.leaving.is_set() and not puppet.gone.is_set():
                    stage.die(puppet, 0)
            stage.obedient = True
            await settle()
            assert stage.supervisor.unready() is None

        play(script)

    def test_while_they_start_it_comes_behind_that(self) -> None:
        async def script(stage: Stage) -> None:
            stage.serves_at_once = False
            starting = asyncio.create_task(stage.supervisor.start())
            await settle()
            stage.supervisor.roll()
            await settle()
            assert len(stage.puppets) == 1
            stage.serves_at_once = True
            stage.puppets[0].serve()
            await starting
            await settle()
            assert stage.serving() == stage.puppets[2:]
            assert stage.puppets[0].gone.is_set() and len(stage.puppets) == 4

        play(script)

    def test_what_comes_of_it_has_not_failed_yet(self) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            for _ in range(5):
                stage.die(stage.serving()[0] or pytest.fail("there is one"), -9)
                await asyncio.sleep(10)
            stage.supervisor.roll()
            await settle()
            began = now()
            stage.die(stage.serving()[0] or pytest.fail("there is one"), -9)
            await settle()
            assert stage.puppets[-1].since == began

        play(script)

    def test_none_in_the_end(self) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            await stage.end()
            stage.supervisor.roll()
            await settle()
            assert len(stage.puppets) == 2
            assert stage.supervisor.unready() == "going away"

        play(script)


class TestEnd:
    def test_each_is_told_once_and_waited_for(self) -> None:
        async def script(stage: Stage) -> None:
            stage.obedient = False
            await stage.supervisor.start()
            ending = asyncio.create_task(stage.supervisor.end(stage.hurry, stage.kill))
            await asyncio.sleep(29)
            assert not ending.done()
            assert [listener.fileno() for listener in stage.listeners] == [-1, -1], "who comes now is refused"
            for puppet in stage.puppets:
                assert puppet.fate.signals == [signal.SIGTERM]
                stage.die(puppet, 0)
            await ending

        play(script)

    def test_who_is_in_a_hurry(self) -> None:
        async def script(stage: Stage) -> None:
            stage.obedient = False
            await stage.supervisor.start()
            ending = asyncio.create_task(stage.supervisor.end(stage.hurry, stage.kill))
            await settle()
            stage.hurry.set()
            await settle()
            for puppet in stage.puppets:
                assert puppet.fate.signals == [signal.SIGTERM, signal.SIGINT]
            stage.kill.set()
            await ending
            for puppet in stage.puppets:
                assert puppet.fate.signals == [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]

        play(script)

    @pytest.mark.parametrize("hurry", [False, True])
    def test_what_does_not_end_is_killed(self, hurry: bool, caplog: pytest.LogCaptureFixture) -> None:
        async def script(stage: Stage) -> None:
            stage.obedient = False
            await stage.supervisor.start()
            if hurry:
                stage.hurry.set()
            began = now()
            await stage.end()
            # Its timeouts, and some more.
            assert now() - began == pytest.approx(3 * 2 + 10 + (0 if hurry else 7), abs=0.1)

        play(script, drain_timeout=7, close_timeout=2)
        assert "worker 1 (process 101) does not end: it is killed" in caplog.text

    def test_those_of_a_roll_and_of_a_start_end_too(self) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            stage.serves_at_once = False
            stage.supervisor.roll()
            await settle()
            assert len(stage.puppets) == 3

        play(script)

    def test_what_dies_meanwhile_stays_dead(self) -> None:
        async def script(stage: Stage) -> None:
            await stage.supervisor.start()
            stage.die(stage.puppets[0], -9)
            await stage.end()
            await asyncio.sleep(100)
            assert len(stage.puppets) == 2

        play(script)
