"""Whatever ends a turn, wherever its callback is (decision 10): one final event, and the callback hears of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import TEXT, Event, Peer, masked
from wsserver import Config, Server, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


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

    async def in_ask(self, turn: Turn) -> AsyncIterator[str]:
        yield "token"
        try:
            yield str(await turn.ask("Well?"))
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


PLACES = ["in_an_await", "at_a_yield", "in_ask", "in_its_clean_up", "swallowing", "for_ever", "in_a_coroutine"]


@pytest.mark.parametrize("place", PLACES)
class TestEnds:
    """Whatever ends a turn wherever its callback is: one final event, and the callback has heard of it."""

    def end(
        self, place: str, how: Callable[[Peer], Any], turns: int = 1, **settings: Any
    ) -> tuple[list[Event], Places]:
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
                events = [event for _ in range(turns) for event in await peer.turn()]
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

    def test_interrupt(self, place: str) -> None:
        """By a message that is stopped before it runs."""

        async def interrupt(peer: Peer) -> None:
            await peer.write(masked(TEXT, b'{"content":"go"}') + masked(TEXT, b'{"event":"stop","data":{"turn":2}}'))

        events, places = self.end(place, interrupt, turns=2, busy="interrupt")
        finals = [(event["turn"], event["data"]) for event in events if event["data"].get("final")]
        assert finals == [(1, {"final": True, "status": "interrupted"}), (2, {"final": True, "status": "stopped"})]
        assert set(places.heard) == {"interrupted"}

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

    def test_the_deadline_of_a_drain(self, place: str) -> None:
        places = Places()

        async def main() -> float:
            loop = asyncio.get_running_loop()
            async with Server(
                getattr(places, place), Config(port=0, close_timeout=5, drain_timeout=20, ping_interval=0)
            ) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    transport: Any = peer.writer.transport
                    transport.pause_reading()
                    await peer.ask("go")
                    await asyncio.sleep(1)
                    began = loop.time()
                    draining = asyncio.create_task(server.drain())
                    await asyncio.sleep(19)
                    assert not places.heard
                    await asyncio.sleep(1.5)
                    transport.resume_reading()
                    assert (await peer.turn())[-1]["data"]["code"] == "server_shutdown"
                    assert (await peer.closed())[0] == 1012
                    peer.writer.close()
                    await draining
                    return loop.time() - began

        assert run_virtually(main()) <= 20 + 5 + 1
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
            # Both are read in one turn of the loop, however slow this machine is.
            server.turnstile.clock = server.loop.time
            await peer.write(masked(TEXT, b'{"content":"go"}') + masked(TEXT, b'{"event":"stop"}'))
            assert [event["event"] for event in await peer.turn()] == ["start", "complete"]
            await asyncio.sleep(1)
            assert not server.turns.runs

    run_virtually(main())
    assert not ran
