"""`ask` and `answer`: what a turn asks the person, and what becomes of the question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import Event, Peer, text_of
from wsserver import Config, Server, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


def talk(generate: Any, script: Callable[[Peer], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with Server(generate, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]) as peer:
            await script(peer)

    run_virtually(main())


async def answer(peer: Peer, ask: Event, value: Any, **fields: Any) -> None:
    await peer.send({"event": "answer", "data": {"call_id": ask["data"]["call_id"], "value": value}, **fields})


async def error_of(peer: Peer) -> tuple[str, str | None]:
    data = (await peer.event("error"))["data"]
    assert data["final"] is False
    return data["code"], data.get("ref")


async def once(turn: Turn) -> AsyncIterator[str]:
    yield f"answered {await turn.ask('Shall I?', {'type': 'boolean'})}"


def test_the_turn_goes_on_with_the_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.ask("go")
        await peer.event("start")
        ask = await peer.event("ask")
        call_id = ask["data"].pop("call_id")
        assert ask["data"] == {"message": "Shall I?", "schema": {"type": "boolean"}}
        assert (ask["seq"], ask["turn"]) == (2, 1)
        ask["data"]["call_id"] = call_id
        await answer(peer, ask, True, id="a1")
        assert (await peer.event("ack"))["data"] == {"ref": "a1"}
        assert text_of(await peer.turn()) == "answered True"

    talk(once, script)


def test_one_that_does_not_fit_is_bad_message_and_the_question_stays_open() -> None:
    async def script(peer: Peer) -> None:
        await peer.ask("go")
        await peer.event("start")
        ask = await peer.event("ask")
        misfits: list[Any] = [1, "yes", None, [], {}]
        for number, value in enumerate(misfits):
            await answer(peer, ask, value, id=f"a{number}")
            assert await error_of(peer) == ("bad_message", f"a{number}")
        await answer(peer, ask, False)
        assert text_of(await peer.turn()) == "answered False"

    talk(once, script)


@pytest.mark.parametrize("data", [{}, {"call_id": "c"}, {"value": 1}, {"call_id": 7, "value": 1}, []])
def test_one_that_is_none_is_bad_message(data: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.send({"event": "answer", "data": data, "id": "a"})
        assert await error_of(peer) == ("bad_message", "a")

    talk(once, script)


def test_to_nothing_it_is_not_active() -> None:
    async def script(peer: Peer) -> None:
        ask: Event = {"data": {"call_id": "c_unknown"}}
        await answer(peer, ask, True, id="before any turn")
        assert await error_of(peer) == ("not_active", "before any turn")
        await peer.ask("go")
        await peer.event("start")
        real = await peer.event("ask")
        await answer(peer, ask, True, id="unknown")
        assert await error_of(peer) == ("not_active", "unknown")
        await answer(peer, real, True)
        await answer(peer, real, False, id="twice")
        events = [await peer.event() for _ in range(3)]
        [error] = [event for event in events if event["event"] == "error"]
        assert (error["data"]["code"], error["data"]["ref"]) == ("not_active", "twice")
        assert text_of(events) == "answered True"
        await answer(peer, real, True, id="after its end")
        assert await error_of(peer) == ("not_active", "after its end")

    talk(once, script)


async def three(turn: Turn) -> AsyncIterator[str]:
    answers = await asyncio.gather(*(turn.ask(f"number {n}", {"enum": [n, -n]}) for n in (1, 2, 3)))
    yield " ".join(map(str, answers))


def test_several_are_open_at_once_and_answered_in_any_order() -> None:
    async def script(peer: Peer) -> None:
        await peer.ask("go")
        await peer.event("start")
        asks = [await peer.event("ask") for _ in range(3)]
        assert len({ask["data"]["call_id"] for ask in asks}) == 3
        for number in (3, 1, 2):
            await answer(peer, asks[number - 1], -number)
        assert text_of(await peer.turn()) == "-1 -2 -3"

    talk(three, script)


def test_history_shows_the_text_so_far_and_what_is_asked() -> None:
    async def script(peer: Peer) -> None:
        await peer.ask("go")
        await peer.event("start")
        asks = [await peer.event("ask") for _ in range(3)]
        await answer(peer, asks[0], 1)
        await peer.send({"event": "history"})
        active = (await peer.event("history"))["data"]["active"]
        assert (active["turn"], active["text"]) == (1, "")
        assert active["asks"] == [ask["data"] for ask in asks[1:]]
        await peer.send({"event": "stop"})
        await peer.turn()
        await peer.send({"event": "history"})
        assert (await peer.event("history"))["data"]["active"] is None

    talk(three, script)


def test_stop_while_asking() -> None:
    heard: list[str | None] = []

    async def generate(turn: Turn) -> AsyncIterator[str]:
        yield "half"
        try:
            await asyncio.gather(turn.ask("one"), turn.ask("two"))
        except asyncio.CancelledError:
            heard.append(turn.cause)
            with pytest.raises(asyncio.CancelledError):
                await turn.ask("one that comes too late")
            raise

    async def script(peer: Peer) -> None:
        await peer.ask("go")
        events = [await peer.event() for _ in range(4)]
        await peer.send({"event": "stop"})
        assert (await peer.event("complete"))["data"] == {"status": "stopped", "final": True}
        await answer(peer, events[2], "late", id="late")
        assert await error_of(peer) == ("not_active", "late")
        assert heard == ["stopped"]

    talk(generate, script)


def test_a_timeout_of_the_callback_closes_the_question() -> None:
    async def generate(turn: Turn) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(30):
                yield str(await turn.ask("Are you there?"))
        except TimeoutError:
            yield "nobody there"
            yield f" but {await turn.ask('Now?')}"

    async def script(peer: Peer) -> None:
        await peer.ask("go")
        await peer.event("start")
        first = await peer.event("ask")
        await peer.event("token")
        second = await peer.event("ask")
        await answer(peer, first, "late", id="late")
        assert await error_of(peer) == ("not_active", "late")
        await answer(peer, second, "here")
        assert text_of(await peer.turn()) == " but here"

    talk(generate, script, ping_interval=0)


def test_turn_timeout_while_asking() -> None:
    async def script(peer: Peer) -> None:
        await peer.ask("go")
        await peer.event("start")
        ask = await peer.event("ask")
        assert (await peer.event("error"))["data"] == {
            "code": "turn_timeout",
            "message": "the answer took too long",
            "retryable": True,
            "final": True,
        }
        await answer(peer, ask, True, id="late")
        assert await error_of(peer) == ("not_active", "late")

    talk(once, script, turn_timeout=20, ping_interval=0)


def test_an_answer_comes_after_the_person_came_back() -> None:
    async def main() -> None:
        async with Server(once, Config(port=0)) as server:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("go")
                await peer.event("start")
                ask = await peer.event("ask")
                token = peer.session["data"]["resume_token"]
            await asyncio.sleep(60)
            async with Peer.connect(f"{server.urls[0]}?resume={token}&last_seq=2&epoch=1") as again:
                await again.event("replayed")
                await answer(again, ask, True)
                assert text_of(await again.turn()) == "answered True"

    run_virtually(main())
