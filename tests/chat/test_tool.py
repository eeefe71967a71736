"""A step of the work that is shown while it runs: started, progress, finished or failed."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING

import pytest

from tests.chat.person import Person, SlowReader, run

if TYPE_CHECKING:
    from wsserver.chat.turn import Turn


def test_from_start_to_finish(somebody: Person, turn: Turn) -> None:
    async def callback() -> None:
        async with turn.tool("orders", "Looking…", input={"user": 7}) as tool:
            await tool.progress("half way")
            tool.finish("one order", output={"id": 3})

    run(callback())
    started, progress, finished = (event["data"] for event in somebody.events())
    call = {"call_id": started["call_id"], "name": "orders"}
    assert started == {**call, "status": "started", "message": "Looking…", "input": {"user": 7}}
    assert progress == {**call, "status": "progress", "message": "half way"}
    assert finished == {**call, "status": "finished", "message": "one order", "output": {"id": 3}}


def test_calls_have_names_of_their_own(turn: Turn) -> None:
    assert len({turn.tool("orders").call_id for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "ends, shown",
    [
        ([], ["finished"]),
        (["finish"], ["finished message=done"]),
        (["fail"], ["failed error=no"]),
        (["finish", "finish"], ["finished message=done"]),
        (["fail", "finish"], ["failed error=no"]),
        (["finish", "fail"], ["finished message=done"]),
        (["finish", "progress"], ["finished message=done"]),
        (["progress", "fail"], ["progress message=wait", "failed error=no"]),
    ],
)
def test_the_first_end_counts(somebody: Person, turn: Turn, ends: list[str], shown: list[str]) -> None:
    async def callback() -> None:
        async with turn.tool("orders") as tool:
            for end in ends:
                if end == "progress":
                    await tool.progress("wait")
                elif end == "finish":
                    tool.finish("done")
                else:
                    tool.fail("no")

    run(callback())
    assert [text.split("status=")[1] for text in somebody.shown] == ["started", *shown]


def test_an_exception_fails_it_without_its_text(somebody: Person, turn: Turn) -> None:
    async def callback() -> None:
        async with turn.tool("orders"):
            raise ValueError("password=secret")

    with pytest.raises(ValueError, match="secret"):
        run(callback())
    started, failed = somebody.shown
    assert failed.endswith("name=orders status=failed error=orders failed")


def test_an_exception_after_its_end_changes_nothing(somebody: Person, turn: Turn) -> None:
    async def callback() -> None:
        async with turn.tool("orders") as tool:
            tool.finish()
            raise ValueError

    with pytest.raises(ValueError):
        run(callback())
    assert [text.split("status=")[1] for text in somebody.shown] == ["started", "finished"]


def test_an_output_that_json_cannot_hold_fails_it(somebody: Person, turn: Turn) -> None:
    async def callback() -> None:
        async with turn.tool("orders") as tool:
            tool.finish(output=object())

    with pytest.raises(TypeError, match="the data of the event 'tool'"):
        run(callback())
    assert [text.split("status=")[1] for text in somebody.shown] == ["started", "failed error=orders failed"]


def test_cancelled_inside(somebody: Person, turn: Turn) -> None:
    turn.flow = SlowReader()
    turn.flow.pausing = False

    async def callback() -> None:
        async with turn.tool("orders"):
            await SlowReader()

    running = callback()
    running.send(None)
    with pytest.raises(CancelledError):
        running.throw(CancelledError())
    assert [text.split("status=")[1] for text in somebody.shown] == ["started", "failed error=orders failed"]


def test_cancelled_because_its_turn_is_over(somebody: Person, turn: Turn) -> None:
    async def callback() -> None:
        async with turn.tool("orders"):
            await SlowReader()

    running = callback()
    running.send(None)
    turn.complete("stopped")
    with pytest.raises(CancelledError):
        running.throw(CancelledError())
    assert [text.split(" ")[2] for text in somebody.shown] == ["tool", "complete"]
