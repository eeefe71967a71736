"""How a callback runs, and how it hears of its end (decision 10)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import Event, Peer, text_of
from wsserver import Config, ConfigError, Custom, Reset, Server, Source, Status, Token, Turn, TurnError
from wsserver.net.run import check_callback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def ask(generate: Any, content: Any = "go", **settings: Any) -> list[Event]:
    """All events of one turn."""

    async def main() -> list[Event]:
        async with (
            Server(generate, Config(port=0, **settings)) as server,
            Peer.connect(server.urls[0]) as peer,
        ):
            await peer.ask(content)
            return await peer.turn()

    return run_virtually(main())


def names(events: list[Event]) -> list[str]:
    return [event["event"] for event in events]


class TestShapes:
    """A callback is an async generator, or a coroutine that sends."""

    def test_an_async_generator_yields_items(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[Any]:
            yield "Hel"
            yield Token("lo")
            yield Status("thinking")
            yield Source(title="Manual", score=0.5, extra={"page": 7})
            yield Reset()
            yield Custom("chart", {"points": [1, 2]})
            turn.usage = {"tokens": 2}

        events = ask(generate)
        assert names(events) == "start token token status source reset chart complete".split()
        assert [event.get("seq") for event in events] == [1, 2, 3, None, 4, 5, 6, 7]
        assert {event["turn"] for event in events} == {1}
        assert events[4]["data"] == {"page": 7, "title": "Manual", "score": 0.5}
        assert events[6]["data"] == {"points": [1, 2]}
        assert events[7]["data"] == {"final": True, "status": "completed", "usage": {"tokens": 2}}

    def test_a_coroutine_sends_them(self) -> None:
        async def generate(turn: Turn) -> None:
            await turn.send("Hello ")
            async with turn.tool("clock", "looking", input={"zone": "UTC"}) as tool:
                await tool.progress("nearly there")
                tool.finish("found", output=12)
            await turn.send(f"it is {turn.content}")

        events = ask(generate, content={"any": "JSON"})
        assert names(events) == "start token tool tool tool token complete".split()
        assert [event["data"]["status"] for event in events[2:5]] == ["started", "progress", "finished"]
        assert len({event["data"]["call_id"] for event in events[2:5]}) == 1
        assert text_of(events) == "Hello it is {'any': 'JSON'}"

    def test_any_async_iterator_will_do(self) -> None:
        class Words:
            def __init__(self) -> None:
                self.left = ["a", "b"]

            def __aiter__(self) -> Words:
                return self

            async def __anext__(self) -> str:
                if not self.left:
                    raise StopAsyncIteration
                return self.left.pop(0)

        async def generate(turn: Turn) -> Any:
            raise AssertionError

        class Callback:
            async def __call__(self, turn: Turn) -> None:
                async for word in Words():
                    await turn.send(word)

        assert text_of(ask(Callback())) == "ab"
        assert text_of(ask(partial(Callback().__call__))) == "ab"

    def test_one_that_takes_no_turn_is_refused_at_once(self) -> None:
        async def alone() -> None:
            """Nobody tells it anything."""

        with pytest.raises(ConfigError, match="exactly one argument"):
            check_callback(alone)

    @pytest.mark.parametrize("wrong", [lambda turn: "hi", 7, "text", print, object])
    def test_what_is_not_async_is_refused_at_once(self, wrong: Any) -> None:
        with pytest.raises(ConfigError, match="must be an async generator"):
            check_callback(wrong)


class TestFailures:
    """A failing callback gives one final `error`, with no internals in it and a traceback in the log."""

    def test_an_exception(self, caplog: pytest.LogCaptureFixture) -> None:
        async def generate(turn: Turn) -> AsyncIterator[str]:
            yield "half"
            raise RuntimeError("password: swordfish")

        events = ask(generate)
        assert names(events) == ["start", "token", "error"]
        assert events[-1]["data"] == {
            "code": "generation_failed",
            "message": "the answer could not be generated",
            "retryable": False,
            "final": True,
        }
        assert "swordfish" in caplog.text
        assert "Traceback" in caplog.text

    def test_an_error_of_the_application(self, caplog: pytest.LogCaptureFixture) -> None:
        async def generate(turn: Turn) -> AsyncIterator[str]:
            yield ""
            raise TurnError("no_credit", "Your credit is used up.", retryable=True)

        data = ask(generate)[-1]["data"]
        assert data == {"code": "no_credit", "message": "Your credit is used up.", "retryable": True, "final": True}
        assert "Traceback" not in caplog.text

    @pytest.mark.parametrize("item", [7, None, b"bytes", Custom("x", {"y": object()}), "\ud800"])
    def test_an_item_that_cannot_be_shown(self, item: Any, caplog: pytest.LogCaptureFixture) -> None:
        closed = []

        async def generate(turn: Turn) -> AsyncIterator[Any]:
            try:
                yield item
            finally:
                closed.append(turn)

        events = ask(generate)
        assert events[-1]["data"]["code"] == "generation_failed"
        assert "TypeError" in caplog.text
        assert len(closed) == 1

    def test_whatever_is_raised_ends_the_turn(self, caplog: pytest.LogCaptureFixture) -> None:
        class PanicError(BaseException):
            """As extension modules raise it."""

        async def generate(turn: Turn) -> AsyncIterator[str]:
            yield "half"
            raise PanicError("boom")

        assert ask(generate)[-1]["data"]["code"] == "generation_failed"
        assert "boom" in caplog.text

    def test_an_error_that_was_not_initialised_ends_the_turn_all_the_same(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Careless(TurnError):
            def __init__(self) -> None:
                """Forgets its base."""

        async def generate(turn: Turn) -> AsyncIterator[str]:
            yield "half"
            raise Careless

        assert ask(generate)[-1]["data"]["code"] == "generation_failed"
        assert "Careless" in caplog.text

    def test_a_coroutine_that_returns_its_answer_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        async def generate(turn: Turn) -> str:
            return "an answer that nobody would see"

        assert ask(generate)[-1]["data"]["code"] == "generation_failed"
        assert "shows by turn.send" in caplog.text

    def test_who_catches_what_it_did_wrong_may_go_on(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[Any]:
            try:
                yield 5
            except TypeError:
                yield "better"

        assert text_of(ask(generate)) == "better"

    def test_who_goes_on_and_on_does_not_hold_the_loop(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[Any]:
            while True:
                try:
                    yield 5
                except TypeError:
                    yield "bad "

        async def main() -> None:
            async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await peer.ask("go")
                await peer.event("start")
                await peer.event("token")
                await peer.send({"event": "stop"})
                assert (await peer.turn())[-1]["data"]["status"] == "stopped"

        asyncio.run(asyncio.wait_for(main(), 20))

    def test_its_own_tasks_do_not_wait_for_a_reader_that_is_gone(self) -> None:
        tasks: list[asyncio.Task[None]] = []

        async def write(turn: Turn) -> None:
            while not turn.over:
                await turn.send("x" * 10_000)

        async def generate(turn: Turn) -> None:
            tasks.extend(asyncio.create_task(write(turn)) for _ in range(3))
            await asyncio.wait(tasks)

        async def main() -> None:
            async with Server(generate, Config(port=0, on_disconnect="cancel")) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    transport: Any = peer.writer.transport
                    transport.pause_reading()
                    await peer.ask("go")
                    await asyncio.sleep(1)
                    assert len(tasks) == 3
                await asyncio.sleep(1)
                assert all(task.done() for task in tasks)

        run_virtually(main())

    def test_what_it_does_to_the_content_stays_its_own_affair(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[str]:
            turn.content["mine"] = object()
            yield "done"

        async def main() -> None:
            async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await peer.ask({"a": 1})
                await peer.turn()
                await peer.send({"event": "history"})
                assert (await peer.event("history"))["data"]["items"][0]["content"] == {"a": 1}

        run_virtually(main())

    def test_a_timeout_of_its_own_is_its_own_affair(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[str]:
            try:
                async with asyncio.timeout(0.5):
                    while True:
                        yield "x" * 10_000
            except TimeoutError:
                yield "first "
            yield "second"

        async def main() -> None:
            async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                transport: Any = peer.writer.transport
                transport.pause_reading()
                await peer.ask("go")
                await asyncio.sleep(1)
                transport.resume_reading()
                events = await peer.turn()
                assert text_of(events).endswith("xfirst second")
                assert events[-1]["data"]["status"] == "completed"

        run_virtually(main())

    def test_no_field_of_its_own_can_end_the_turn(self) -> None:
        with pytest.raises(ValueError, match="'final' ends a turn"):
            Custom("x", {"final": True})
        with pytest.raises(ValueError, match="'final' ends a turn"):
            Source(extra={"final": False})

    def test_a_cancellation_of_its_own_making(self) -> None:
        async def generate(turn: Turn) -> None:
            raise asyncio.CancelledError

        assert ask(generate)[-1]["data"]["code"] == "generation_failed"

    def test_the_session_goes_on(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[str]:
            if turn.id == 1:
                raise RuntimeError("first")
            yield "second"

        async def main() -> None:
            async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await peer.ask("one")
                await peer.ask("two")
                assert (await peer.turn())[-1]["data"]["code"] == "generation_failed"
                assert text_of(await peer.turn()) == "second"

        run_virtually(main())


def test_a_callback_that_never_awaits_leaves_the_loop_to_others() -> None:
    async def generate(turn: Turn) -> AsyncIterator[str]:
        while True:
            yield ""  # nothing is shown, so no reader ever slows it down

    async def main() -> None:
        async with Server(generate, Config(port=0)) as server:
            async with Peer.connect(server.urls[0]) as busy, Peer.connect(server.urls[0]) as other:
                await busy.ask("go")
                await busy.event("start")
                await other.send({"event": "ping", "data": {"n": 1}})
                assert (await other.event("pong"))["data"] == {"n": 1}
                await busy.send({"event": "stop"})
                assert (await busy.event("complete"))["data"]["status"] == "stopped"

    asyncio.run(asyncio.wait_for(main(), 20))
