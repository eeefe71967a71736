"""Synchronous generators as callbacks, in real threads and real time: a clock that jumps would overtake a thread."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from random import Random
from statistics import quantiles
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.peer import Event, Peer, text_of
from wsserver import Config, ConfigError, Custom, Server, Source, Token, TurnError
from wsserver.adapters import threads
from wsserver.adapters.threads import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator

    from wsserver import Item
    from wsserver.adapters.threads import SyncTurn

#: Seconds: more than anything here takes, so that what hangs fails.
LONG = 20

user: contextvars.ContextVar[str] = contextvars.ContextVar("user")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(LONG):
            return await main

    return asyncio.run(within())


@asynccontextmanager
async def talking(generate: Any, **settings: Any) -> AsyncIterator[Peer]:
    async with Server(generate, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]) as peer:
        yield peer


def ask(function: Callable[[SyncTurn], Iterable[Item]], content: Any = "go") -> list[Event]:
    """All events of one turn; afterwards no thread is left."""
    generate = threads.callback(function)

    async def main() -> list[Event]:
        async with talking(generate) as peer:
            await peer.ask(content)
            return await peer.turn()

    events: list[Event] = run(main())
    assert (generate.threads.running, generate.threads.orphans) == (0, 0)
    return events


def shown(events: list[Event]) -> list[Any]:
    """What stands between `start` and the end."""
    return [event["data"] for event in events[1:-1]]


class TestTurn:
    def test_what_it_yields_is_shown(self) -> None:
        def answer(turn: SyncTurn) -> Iterator[Item]:
            assert threading.current_thread().name == f"turn 1 of {turn.session.id}"
            yield "Hel"
            yield Token("lo ")
            yield Source(title="Manual")
            yield Custom("chart", {"points": [1]})
            yield turn.content
            turn.usage = {"tokens": 3}

        events = ask(answer, "you")
        assert [event["event"] for event in events] == "start token token source chart token complete".split()
        assert text_of(events) == "Hello you"
        assert events[-1]["data"] == {"status": "completed", "final": True, "usage": {"tokens": 3}}

    @pytest.mark.parametrize("items", [["a", "b"], iter(("a", "b")), "ab"])
    def test_any_iterable_will_do(self, items: Iterable[Item]) -> None:
        assert text_of(ask(lambda turn: items)) == "ab"

    def test_what_the_turn_holds(self) -> None:
        def answer(turn: SyncTurn) -> Iterator[str]:
            state = turn.session.state
            state["count"] = state.get("count", 0) + 1
            assert turn.session.state is state
            assert turn.session.history == turn.history
            assert (turn.session.user, turn.cause, turn.usage) == (None, None, None)
            assert repr(turn).startswith(f"<Turn {turn.id} of ")
            yield f"{turn.id} {state} {[said['content'] for said in turn.history]}"

        async def main() -> list[str]:
            async with talking(threads.callback(answer)) as peer:
                said = []
                for content in "one", "two":
                    await peer.ask(content)
                    said.append(text_of(await peer.turn()))
                return said

        first = "1 {'count': 1} ['one']"
        assert run(main()) == [first, f"2 {{'count': 2}} ['one', {first!r}, 'two']"]

    def test_steps_and_questions_come_in_order(self) -> None:
        def look_up(turn: SyncTurn) -> int:
            with turn.tool("orders", "looking", input={"order": 7}) as tool:
                turn.send("Let me see. ")
                tool.progress("nearly there")
                tool.finish("found", output=9)
                tool.fail("too late")
                tool.progress("too late")
            return 9

        def answer(turn: SyncTurn) -> Iterator[str]:
            yield f"{look_up(turn)} days. "
            if turn.ask("Complain?", {"type": "boolean"}):
                yield "I have."
            with pytest.raises(ZeroDivisionError), turn.tool("division"):
                _ = 1 / 0

        async def main() -> list[Event]:
            async with talking(threads.callback(answer)) as peer:
                await peer.ask("go")
                events = [await peer.event()]
                while events[-1]["event"] != "ask":
                    events.append(await peer.event())
                call_id = events[-1]["data"]["call_id"]
                await peer.send({"event": "answer", "data": {"call_id": call_id, "value": True}})
                return events + await peer.turn()

        events = run(main())
        steps = [event["data"].get("status", event["event"]) for event in events[1:-1]]
        assert steps == "started token progress finished token ask token started failed".split()
        assert len({event["data"]["call_id"] for event in events if event["event"] == "tool"}) == 2
        assert events[2]["data"] == {"value": "Let me see. "}
        assert events[4]["data"].items() >= {"name": "orders", "message": "found", "output": 9}.items()
        assert events[-2]["data"]["error"] == "division failed"
        assert text_of(events) == "Let me see. 9 days. I have."

    def test_a_question_that_cannot_be_asked(self) -> None:
        def answer(turn: SyncTurn) -> Iterator[str]:
            with pytest.raises(ValueError, match="type"):
                turn.ask("What?", {"type": "riddle"})
            yield "Never mind."

        assert text_of(ask(answer)) == "Never mind."

    def test_its_own_threads_may_send(self) -> None:
        def answer(turn: SyncTurn) -> Iterator[str]:
            workers = [threading.Thread(target=send, args=(turn,)) for _ in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            yield "."

        def send(turn: SyncTurn) -> None:
            for _ in range(200):
                turn.send("x")
            assert turn.history[-1]["content"] == "go"

        assert text_of(ask(answer)) == "x" * 800 + "."

    def test_context_variables_are_carried_over(self) -> None:
        items = Threads().iterate

        def answer() -> Iterator[str]:
            yield user.get()
            user.set("bob")
            yield user.get()

        async def main() -> list[str]:
            user.set("ada")
            async with items(answer) as stream:
                seen = [item async for item in stream]
            return [*seen, user.get()]

        assert run(main()) == ["ada", "bob", "ada"]


class TestErrors:
    def test_an_exception(self, caplog: pytest.LogCaptureFixture) -> None:
        def answer(turn: SyncTurn) -> Iterator[str]:
            yield "half"
            raise RuntimeError("swordfish")

        events = ask(answer)
        assert [event["event"] for event in events] == ["start", "token", "error"]
        assert events[-1]["data"]["code"] == "generation_failed"
        assert "swordfish" in caplog.text and "in answer" in caplog.text

    def test_an_error_of_the_application(self) -> None:
        def answer(turn: SyncTurn) -> Iterator[str]:
            yield "half"
            raise TurnError("no_credit", "Your credit is used up.")

        assert ask(answer)[-1]["data"]["code"] == "no_credit"

    def test_a_function_that_gives_nothing_to_iterate(self, caplog: pytest.LogCaptureFixture) -> None:
        def answer(turn: SyncTurn) -> Any:
            """Forgot to yield."""

        assert ask(answer)[-1]["data"]["code"] == "generation_failed"
        assert "'NoneType' object is not iterable" in caplog.text

    def test_an_item_that_cannot_be_shown_is_told_to_the_generator(self) -> None:
        closed = threading.Event()

        def answer(turn: SyncTurn) -> Iterator[Any]:
            try:
                yield 7
                yield from iter(str, "never")
            finally:
                closed.set()

        assert ask(answer)[-1]["data"]["code"] == "generation_failed"
        assert closed.is_set()

    def test_an_async_function_is_refused(self) -> None:
        async def stream(turn: SyncTurn) -> AsyncIterator[str]:
            yield "x"

        async def answer(turn: SyncTurn) -> None:
            """Nothing."""

        for function in (stream, answer):
            with pytest.raises(ConfigError, match="is async, so it needs no thread"):
                threads.callback(function)  # type: ignore[arg-type]

    @pytest.mark.parametrize("wrong", [{"max_threads": 0}, {"look_ahead": 0}])
    def test_numbers_that_cannot_work(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ConfigError, match="must be 1 or more"):
            threads.callback(lambda turn: "", **wrong)


class TestPace:
    @pytest.mark.parametrize("look_ahead", [1, 2, 7, 64])
    def test_it_is_never_further_ahead(self, look_ahead: int) -> None:
        produced = 0
        full = threading.Event()

        def numbers() -> Iterator[int]:
            nonlocal produced
            for number in range(500):
                produced += 1
                if produced == look_ahead:
                    full.set()
                yield number

        async def main() -> list[int]:
            async with Threads(look_ahead=look_ahead).iterate(numbers) as stream:
                # It runs ahead by itself, the loop being held.
                assert full.wait(LONG)
                seen = []
                async for number in stream:
                    assert produced <= number + 1 + look_ahead + 1, "one more is in the hands of the generator"
                    seen.append(number)
                return seen

        assert run(main()) == list(range(500))

    def test_a_burst_wakes_the_loop_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begin, ready = threading.Event(), threading.Event()

        def burst() -> Iterator[int]:
            begin.wait(LONG)
            yield from range(64)
            ready.set()

        async def main() -> list[int]:
            loop = asyncio.get_running_loop()
            wakes = 0
            call_soon_threadsafe = loop.call_soon_threadsafe

            def counted(*args: Any, **more: Any) -> Any:
                nonlocal wakes
                wakes += 1
                return call_soon_threadsafe(*args, **more)

            monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
            async with Threads(look_ahead=65).iterate(burst) as stream:
                first = asyncio.ensure_future(anext(stream))
                await asyncio.sleep(0)
                begin.set()
                assert ready.wait(LONG)
                seen = [await first, *[await anext(stream) for _ in range(63)]]
                assert wakes == 1
            return seen

        assert run(main()) == list(range(64))

    def test_a_slow_reader_holds_the_generator(self) -> None:
        produced = 0

        def answer(turn: SyncTurn) -> Iterator[str]:
            nonlocal produced
            while produced < 100_000:
                produced += 1
                yield "x" * 1000

        async def main() -> None:
            async with talking(threads.callback(answer), soft_limit=1000, hard_limit=4000) as peer:
                await peer.ask("go")
                await peer.event("start")
                before = -1
                while before != produced:  # until nothing moves any more
                    before = produced
                    await asyncio.sleep(0.05)
                assert 0 < produced < 100_000
                await peer.send({"event": "stop"})
                events = await peer.turn()
                assert events[-1]["data"]["status"] == "stopped"

        run(main())


class Hanging:
    """A generator that hangs between two items, until it is let go; it says where and how it ended."""

    def __init__(self, error: Exception | None = None) -> None:
        self.hangs, self.let_go, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.idents: list[int] = []
        self._error = error

    def __call__(self, turn: Any = None) -> Iterator[str]:
        self.idents.append(threading.get_ident())
        try:
            yield "first"
            self.hangs.set()
            assert self.let_go.wait(LONG)
            yield "second"
        except GeneratorExit:
            self.idents.append(threading.get_ident())
            self.closed.set()
            if self._error is not None:
                raise self._error from None
            raise


async def until(condition: Callable[[], bool]) -> None:
    """For what a thread does last, behind all that it could say."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class TestEnd:
    def test_a_stop_closes_the_generator_in_its_own_thread(self) -> None:
        closed = threading.Event()
        idents = []

        def answer(turn: SyncTurn) -> Iterator[str]:
            idents.append(threading.get_ident())
            try:
                while True:
                    yield "x"
            finally:
                idents.append(threading.get_ident())
                assert turn.cause == "stopped"
                for late in (lambda: turn.send("late"), lambda: turn.ask("late?"), lambda: turn.history):
                    with pytest.raises(asyncio.CancelledError):
                        late()
                with turn.tool("cleaning"):
                    closed.set()

        generate = threads.callback(answer)

        async def main() -> None:
            async with talking(generate) as peer:
                await peer.ask("go")
                await peer.event("start")
                await peer.event("token")
                await peer.send({"event": "stop"})
                assert (await peer.turn())[-1]["data"]["status"] == "stopped"
                # The next turn of the session begins once the generator was closed.
                await peer.ask("again")
                await peer.event("start")
                assert closed.is_set()

        run(main())
        assert idents[0] == idents[1] != threading.get_ident()
        assert (generate.threads.running, generate.threads.orphans) == (0, 0)

    @pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    def test_nothing_is_left_of_a_hundred(self, loop: Callable[..., None]) -> None:
        """Ended while they wait for room, for an item, for a call, or as they please."""
        random = Random(7)
        places = Threads(100, look_ahead=3)

        async def read(number: int) -> None:
            def answer() -> Iterator[int]:
                for item in range(number * 10):
                    if number % 4 == 1:
                        stream.call(lambda: asyncio.sleep(0))
                    elif number % 4 == 2:
                        sleep(0.0001)
                    yield item

            stream = places.iterate(answer)
            async with stream:
                seen = 0
                async for item in stream:
                    assert item == seen
                    seen += 1
                    if number % 4 == 3:
                        await asyncio.sleep(0)

        async def main() -> None:
            tasks = [asyncio.create_task(read(number)) for number in range(100)]
            for _ in range(150):
                await asyncio.sleep(0)
                random.choice(tasks).cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError)
            await until(lambda: not places.running)

        before = set(threading.enumerate())
        loop(main())
        assert places.orphans == 0
        for thread in set(threading.enumerate()) - before:
            thread.join(LONG)
            assert not thread.is_alive()

    def test_a_stop_while_a_question_is_open(self) -> None:
        heard = threading.Event()

        def answer(turn: SyncTurn) -> Iterator[str]:
            try:
                yield str(turn.ask("Really?"))
            except asyncio.CancelledError:
                heard.set()
                raise

        generate = threads.callback(answer)

        async def main() -> None:
            async with talking(generate) as peer:
                await peer.ask("go")
                await peer.event("start")
                await peer.event("ask")
                await peer.send({"event": "stop"})
                assert (await peer.turn())[-1]["data"]["status"] == "stopped"

        run(main())
        assert heard.is_set()
        assert generate.threads.running == 0

    def test_one_that_hangs_keeps_its_place(self, caplog: pytest.LogCaptureFixture) -> None:
        hanging = Hanging()
        generate = threads.callback(hanging, max_threads=1)

        async def main() -> None:
            async with talking(generate, close_timeout=0.05) as peer:
                await peer.ask("go")
                while (await peer.event())["event"] != "token":
                    """The start."""
                assert hanging.hangs.wait(LONG)
                await peer.send({"event": "stop"})
                assert (await peer.turn())[-1]["data"]["status"] == "stopped"
                await peer.ask("again")
                error = (await peer.turn())[-1]["data"]
                assert error.items() >= {"code": "overloaded", "retryable": True}.items()
                assert (generate.threads.running, generate.threads.orphans) == (1, 1)
                assert "does not end: its thread keeps its place" in caplog.text
                hanging.let_go.set()
                await until(lambda: not generate.threads.running)
                assert generate.threads.orphans == 0
                await peer.ask("and again")
                assert text_of(await peer.turn()) == "firstsecond"

        run(main())
        assert hanging.closed.is_set()
        assert hanging.idents[0] == hanging.idents[1]

    def test_what_closing_raises(self) -> None:
        hanging = Hanging(OSError("disk full"))
        hanging.let_go.set()
        places = Threads(look_ahead=1)

        async def main() -> None:
            async with places.iterate(hanging) as stream:
                await anext(stream)

        with pytest.raises(OSError, match="disk full"):
            run(main())
        assert (places.running, places.orphans) == (0, 0)

    def test_what_closing_raises_after_nobody_waits_any_more(self, caplog: pytest.LogCaptureFixture) -> None:
        hanging = Hanging(OSError("disk full"))
        places = Threads()

        async def read() -> None:
            async with places.iterate(hanging, "the report") as stream:
                async for _ in stream:
                    """Reads what there is."""

        async def main() -> None:
            reading = asyncio.create_task(read())
            await until(hanging.hangs.is_set)
            reading.cancel()
            await asyncio.sleep(0)
            assert (places.running, places.orphans) == (1, 1)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            hanging.let_go.set()
            await until(lambda: not places.running)

        run(main())
        assert places.orphans == 0
        assert "the report failed after nobody waited for it any more" in caplog.text
        assert "disk full" in caplog.text
        assert "InvalidStateError" not in caplog.text

    def test_being_told_so_is_no_failure(self) -> None:
        begin, begun = threading.Event(), threading.Event()

        def answer() -> Iterator[str]:
            yield "x"
            assert begin.wait(LONG)
            begun.set()
            streams[0].call(lambda: asyncio.sleep(LONG))

        async def main() -> None:
            async with Threads().iterate(answer) as stream:
                streams.append(stream)
                assert await anext(stream) == "x"
                begin.set()
                await until(begun.is_set)

        streams: list[Any] = []
        run(main())

    def test_the_loop_is_gone(self) -> None:
        hanging = Hanging()
        places = Threads()

        async def main() -> Any:
            stream = await places.iterate(hanging).__aenter__()
            assert await anext(stream) == "first"
            await until(hanging.hangs.is_set)
            reading = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            return stream, reading

        stream, _ = run(main())
        assert repr(stream) == "<Stream of " + str(hanging) + ">"
        hanging.let_go.set()
        assert hanging.closed.wait(LONG)
        for thread in threading.enumerate():
            if thread.ident == hanging.idents[0]:
                thread.join(LONG)
        assert (places.running, places.orphans) == (0, 0)
        assert repr(stream).endswith(" closed ended>")

    def test_no_thread_to_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        places = Threads()

        async def main() -> None:
            monkeypatch.setattr(threading.Thread, "start", start)
            async with places.iterate(lambda: "x"):
                """Never comes here."""

        with pytest.raises(TurnError) as caught:
            run(main())
        assert (caught.value.code, caught.value.retryable) == ("overloaded", True)
        assert places.running == 0

    def test_a_hanging_thread_keeps_no_process_alive(self) -> None:
        program = (
            "import asyncio, time\n"
            "from wsserver.adapters.threads import Threads\n"
            "def hang():\n"
            "    yield 'begun'\n"
            "    time.sleep(1000)\n"
            "async def main():\n"
            "    stream = await Threads().iterate(hang).__aenter__()\n"
            "    print(await anext(stream))\n"
            "asyncio.run(main())\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG, check=True)
        assert (done.stdout, done.stderr) == ("begun\n", "")


class TestStream:
    def test_the_value_it_returns(self) -> None:
        def answer() -> Any:
            yield "x"
            return {"sources": 3}

        async def main() -> Any:
            async with Threads().iterate(answer) as stream:
                assert [item async for item in stream] == ["x"]
                assert [item async for item in stream] == [], "it stays at its end"
            await stream.aclose()
            return stream.value

        assert run(main()) == {"sources": 3}

    def test_leaving_early(self) -> None:
        async def main() -> list[str]:
            async with Threads(look_ahead=8).iterate(lambda: "abc" * 8) as stream:
                assert await anext(stream) == "a"
            return [item async for item in stream]

        assert run(main()) == []


@pytest.mark.timed
@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
class TestCost:
    """Of three tries the best one: other programs of the machine hold up single ones."""

    def test_an_item_of_a_burst(self, loop: Callable[..., float]) -> None:
        count = 20_000

        async def main() -> float:
            began = perf_counter()
            async with Threads().iterate(lambda: map(str, range(count))) as stream:
                assert sum([1 async for _ in stream]) == count
            return (perf_counter() - began) / count

        costs = [loop(main()) for _ in range(3)]
        assert min(costs) < 15e-6

    def test_a_hundred_turns_at_once(self, loop: Callable[..., float]) -> None:
        turns, rate, items = 100, 50, 50

        async def main() -> float:
            hops: list[float] = []
            places = Threads(turns)

            def paced(number: int) -> Iterator[float]:
                sleep(number / turns / rate)
                for _ in range(items):
                    sleep(1 / rate)
                    yield perf_counter()

            async def read(number: int) -> None:
                async with places.iterate(lambda: paced(number)) as stream:
                    async for sent in stream:
                        hops.append(perf_counter() - sent)  # noqa: PERF401 – when it comes is what counts

            await asyncio.gather(*map(read, range(turns)))
            assert (len(hops), places.running) == (turns * items, 0)
            return quantiles(hops, n=100)[98]

        waits = []
        for _ in range(3):
            waits.append(loop(main()))
            if waits[-1] < 0.060:
                return
        raise AssertionError(f"the 99th percentile of the hop took {waits} s")
