"""A turn as a function without asyncio holds it, in its thread."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.adapters.running import run
from tests.adapters.threads_talking import ask, talking
from tests.peer import Event, text_of
from wsserver.adapters import threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wsserver.adapters.threads import SyncTurn


def test_what_the_turn_holds() -> None:
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


def test_steps_and_questions_come_in_order() -> None:
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


def test_a_question_that_cannot_be_asked() -> None:
    def answer(turn: SyncTurn) -> Iterator[str]:
        with pytest.raises(ValueError, match="type"):
            turn.ask("What?", {"type": "riddle"})
        yield "Never mind."

    assert text_of(ask(answer)) == "Never mind."


def test_its_own_threads_may_send() -> None:
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


def test_a_stop_while_a_question_is_open() -> None:
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
