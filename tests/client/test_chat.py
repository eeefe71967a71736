"""Asking, stopping and looking back, against a real server; and against a scripted one that does what it does not."""

from __future__ import annotations

import asyncio

import pytest

from wsserver.client import RequestRefused, connect

from .peer import Peer, scripted
from .talking import events_of, run, talking, text_of


class TestAsking:
    def test_an_answer_comes_as_the_events_of_its_turn(self) -> None:
        async def test() -> None:
            async with talking() as (server, _, chat):
                assert chat.session["resumed"] is False
                events = await events_of(chat, "one two")
                assert [event.name for event in events] == ["start", "token", "token", "complete"]
                assert [event.seq for event in events] == [1, 2, 3, 4]
                assert {event.turn for event in events} == {1}
                assert (
                    {event.session_id for event in events}
                    == {chat.session_id}
                    == {session.id for session in server.sessions}
                )
                assert [event.final for event in events] == [False, False, False, True]
                assert events[-1].data["status"] == "completed"
                assert [event.turn for event in await events_of(chat, {"any": ["value"]})][-1] == 2
                assert repr(chat) == f"<Chat {server.urls[0]} {chat.session_id} connected>"

        run(test())

    def test_questions_at_a_time_get_each_its_own_answer(self) -> None:
        async def test() -> None:
            async with talking() as (_, _, chat):
                questions = ["a b c", "d", "e f"]
                answers = await asyncio.gather(*(text_of(chat, question) for question in questions))
                assert answers == ["abc", "d", "ef"]

        run(test())

    def test_an_error_that_ends_the_turn_is_its_last_event(self) -> None:
        async def test() -> None:
            async with talking() as (_, _, chat):
                last = (await events_of(chat, "fail"))[-1]
                assert (last.name, last.final, last.data["code"]) == ("error", True, "no_luck")
                assert await text_of(chat, "go on") == "goon"

        run(test())

    def test_a_message_that_is_not_taken_raises_and_the_conversation_goes_on(self) -> None:
        async def test() -> None:
            async with talking(busy="reject") as (_, app, chat):
                hanging = asyncio.create_task(events_of(chat, "hang"))
                await app.hung.wait()
                with pytest.raises(RequestRefused) as caught:
                    await events_of(chat, "second")
                assert (caught.value.code, caught.value.retryable) == ("turn_active", True)
                with pytest.raises(RequestRefused, match="bad_message"):
                    await events_of(chat, "")
                await chat.stop()
                await hanging
                assert await text_of(chat, "third") == "third"

        run(test())

    def test_what_json_cannot_hold_is_not_sent(self) -> None:
        async def test() -> None:
            async with talking() as (_, _, chat):
                for content, error in ((object(), TypeError), (float("nan"), ValueError), ("\ud800", ValueError)):
                    with pytest.raises(error):
                        await events_of(chat, content)
                assert await text_of(chat, "still here") == "stillhere"

        run(test())

    def test_an_answer_may_be_left_before_its_end(self) -> None:
        async def test() -> None:
            async with talking() as (_, app, chat):
                answer = chat.ask("hang")
                assert (await anext(answer)).name == "start"
                await app.hung.wait()
                await answer.aclose()
                assert await chat.stop()
                assert await text_of(chat, "next") == "next"

        run(test())


class TestStopping:
    def test_the_running_turn(self) -> None:
        async def test() -> None:
            async with talking() as (_, _, chat):
                names = []
                async for event in chat.ask("hang"):
                    names.append(event.name)
                    if event.name == "token":
                        assert await chat.stop(event.turn)
                assert names == ["start", "token", "complete"]
                assert event.data["status"] == "stopped"

        run(test())

    def test_a_turn_that_waits_ends_without_a_start(self) -> None:
        async def test() -> None:
            async with talking() as (_, app, chat):
                first = asyncio.create_task(events_of(chat, "hang"))
                await app.hung.wait()
                second = asyncio.create_task(events_of(chat, "waits"))
                await asyncio.sleep(0)
                assert await chat.stop(2)
                assert [event.name for event in await second] == ["complete"]
                assert not first.done()
                assert await chat.stop()
                assert (await first)[-1].data["status"] == "stopped"

        run(test())

    def test_nothing_to_stop_is_no_error(self) -> None:
        async def test() -> None:
            async with talking() as (_, _, chat):
                assert not await chat.stop()
                assert not await chat.stop(7)

        run(test())

    def test_other_refusals_are_errors(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            for _ in range(2):
                ref = (await peer.hear())["id"]
                await peer.tell("error", {"code": "rate_limited", "message": "slowly", "retryable": True, "ref": ref})
            await peer.end()

        async def test() -> None:
            async with scripted(script) as url, connect(url) as chat:
                for request in (chat.stop(), chat.history()):
                    with pytest.raises(RequestRefused, match="rate_limited: slowly") as caught:
                        await request
                    assert caught.value.retryable

        run(test())


class TestHistory:
    def test_what_was_said(self) -> None:
        async def test() -> None:
            async with talking() as (_, app, chat):
                await text_of(chat, "hi")
                asking = asyncio.create_task(events_of(chat, "hang"))
                await app.hung.wait()
                history, same = await asyncio.gather(chat.history(), chat.history())
                assert [(item["role"], item["content"]) for item in history["items"]] == [
                    ("user", "hi"),
                    ("assistant", "hi"),
                    ("user", "hang"),
                ]
                assert history["active"] == {"turn": 2, "text": "so far"}
                assert history == same
                await chat.stop()
                await asking

        run(test())
