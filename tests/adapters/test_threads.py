"""Synchronous generators as callbacks, in real threads and real time: a clock that jumps would overtake a thread."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.running import LONG, run
from tests.adapters.threads_talking import Hanging, ask, talking, until
from tests.peer import Event, text_of
from wsserver import ConfigError, Custom, Source, Token, TurnError
from wsserver.adapters import threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from wsserver import Item
    from wsserver.adapters.threads import SyncTurn


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
