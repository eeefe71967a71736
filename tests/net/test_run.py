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
    from collections.abc import AsyncIterator, Callable


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


class Places:
    """Where a callback can be when its end comes; each tells by `heard` that it heard of it."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def in_an_await(self, turn: Turn) -> AsyncIterator[str]:
        try:
            yield "token"
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.heard.append(str(turn.cause))
            raise

    async def at_a_yield(self, turn: Turn) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 10_000  # until the reader is too far behind
        except asyncio.CancelledError:
            self.heard.append(str(turn.cause))
            raise

    async def in_its_clean_up(self, turn: Turn) -> AsyncIterator[str]:
        try:
            yield "token"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            self.heard.append(str(turn.cause))
            yield "what comes after the end is dropped"

    async def swallowing(self, turn: Turn) -> AsyncIterator[str]:
        yield "token"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.heard.append(str(turn.cause))
        yield "dropped"

    async def for_ever(self, turn: Turn) -> AsyncIterator[str]:
        yield "token"
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.heard.append(str(turn.cause))
                yield "dropped"

    async def in_a_coroutine(self, turn: Turn) -> None:
        await turn.send("token")
        try:
            while True:
                await turn.send("x" * 10_000)
        except asyncio.CancelledError:
            self.heard.append(str(turn.cause))
            raise


PLACES = ["in_an_await", "at_a_yield", "in_its_clean_up", "swallowing", "for_ever", "in_a_coroutine"]


@pytest.mark.parametrize("place", PLACES)
class TestEnds:
    """Whatever ends a turn wherever its callback is: one final event, and the callback has heard of it."""

    def end(self, place: str, how: Callable[[Peer], Any], **settings: Any) -> tuple[list[Event], Places]:
        places = Places()

        async def main() -> list[Event]:
            async with (
                Server(
                    getattr(places, place),
                    Config(port=0, close_timeout=5, ping_interval=0, write_timeout=0, **settings),
                ) as server,
                Peer.connect(server.urls[0]) as peer,
            ):
                transport: Any = peer.writer.transport
                transport.pause_reading()
                await peer.ask("go")
                await asyncio.sleep(1)
                await how(peer)
                await asyncio.sleep(1)
                transport.resume_reading()
                events = await peer.turn()
                await asyncio.sleep(30)
                await peer.send({"event": "ping"})
                after = await peer.event()
                assert after["event"] == "pong", "nothing of a turn follows its end"
                assert not server.turns.runs, "the callback has ended"
                return events

        return run_virtually(main()), places

    def test_stop(self, place: str) -> None:
        events, places = self.end(place, lambda peer: peer.send({"event": "stop"}))
        assert events[-1]["data"] == {"final": True, "status": "stopped"}
        assert set(places.heard) == {"stopped"}

    def test_timeout(self, place: str) -> None:
        events, places = self.end(place, lambda peer: asyncio.sleep(40), turn_timeout=30)
        assert events[-1]["data"]["code"] == "turn_timeout"
        assert set(places.heard) == {"timeout"}

    def test_a_lost_connection(self, place: str) -> None:
        places = Places()

        async def main() -> None:
            async with Server(
                getattr(places, place), Config(port=0, close_timeout=5, on_disconnect="cancel", resume_ttl=20)
            ) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.ask("go")
                    await peer.event("start")
                await asyncio.sleep(30)
                assert not server.turns.runs
                assert not len(server.sessions)

        run_virtually(main())
        assert set(places.heard) == {"disconnected"}

    def test_shutdown(self, place: str) -> None:
        places = Places()

        async def main() -> tuple[list[Event], tuple[int, str]]:
            async with Server(getattr(places, place), Config(port=0, close_timeout=5)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.ask("go")
                    started = await peer.event("start")
                    await peer.event("token")
                    closing = asyncio.create_task(server.close())
                    events = [started, *await peer.turn()]
                    code = await peer.closed()
                    peer.writer.close()
                    await closing
                    return events, code

        events, (code, _) = run_virtually(main())
        assert events[-1]["data"]["code"] == "server_shutdown"
        assert code == 1012
        assert set(places.heard) == {"shutdown"}


def test_the_next_turn_waits_until_the_callback_has_ended_or_used_up_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    began: list[float] = []

    async def generate(turn: Turn) -> AsyncIterator[str]:
        began.append(asyncio.get_running_loop().time())
        try:
            yield f"turn {turn.id}"
            await asyncio.Event().wait()
        finally:
            if turn.id == 1:
                await asyncio.sleep(2)
            elif turn.id == 2:
                await asyncio.sleep(1000)

    async def main() -> None:
        async with (
            Server(generate, Config(port=0, close_timeout=5, ping_interval=0)) as server,
            Peer.connect(server.urls[0]) as peer,
        ):
            for _ in range(3):
                await peer.ask("go")
            for _ in range(3):
                await peer.event("start")
                await peer.event("token")
                await peer.send({"event": "stop", "data": {"turn": len(began)}})
                assert (await peer.event("complete"))["data"]["status"] == "stopped"

    run_virtually(main())
    assert began[1] - began[0] == pytest.approx(2, abs=0.3)
    assert began[2] - began[1] == pytest.approx(5, abs=0.3)
    assert "has not ended" in caplog.text


def test_a_callback_that_is_stopped_before_its_first_step_never_runs() -> None:
    ran = []

    async def generate(turn: Turn) -> AsyncIterator[str]:
        ran.append(turn)
        yield "never"

    async def main() -> None:
        async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            from tests.peer import TEXT, masked

            await peer.write(masked(TEXT, b'{"content":"go"}') + masked(TEXT, b'{"event":"stop"}'))
            assert names(await peer.turn()) == ["start", "complete"]
            await asyncio.sleep(1)
            assert not server.turns.runs

    run_virtually(main())
    assert not ran


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
