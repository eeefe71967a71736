"""Asking, stopping and looking back, against a real server; and against a scripted one that does what it does not."""

from __future__ import annotations

import asyncio

import pytest

from tests.clock import run_virtually
from wsserver import Config, Server
from wsserver.client import ConnectionLost, RequestRefused, connect

from .peer import Peer, scripted
from .talking import App, events_of, run, talking, text_of


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


class TestAnswering:
    def test_what_a_turn_asks(self) -> None:
        async def test() -> None:
            async with talking() as (_, _, chat):
                text = ""
                async for event in chat.ask("ask"):
                    if event.name == "ask":
                        assert (event.data["message"], event.data["schema"]) == ("how many?", {"type": "integer"})
                        with pytest.raises(RequestRefused, match="bad_message: the answer must be of type integer"):
                            await chat.answer(event.data["call_id"], "three")
                        await chat.answer(event.data["call_id"], 3)
                    elif event.name == "token":
                        text += event.data["value"]
                assert text == "3"

        run(test())

    def test_what_nobody_asks_is_refused(self) -> None:
        async def test() -> None:
            async with talking() as (_, _, chat):
                with pytest.raises(RequestRefused) as caught:
                    await chat.answer("c_unknown", True)
                assert caught.value.code == "not_active"

        run(test())


class TestEvents:
    def test_what_is_pushed(self) -> None:
        async def test() -> None:
            async with talking() as (server, _, chat):
                assert chat.session_id is not None
                await server.push(chat.session_id, "before", {"number": 1})
                assert await text_of(chat, "hi") == "hi"
                events = chat.events()
                first = await anext(events)
                assert (first.name, first.data, first.turn) == ("before", {"number": 1}, None)
                waiting = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0)
                await server.push(chat.session_id, "after")
                assert (await waiting).name == "after"
                await chat.close()
                assert [event async for event in events] == []

        run(test())

    def test_a_second_client_of_the_session_takes_over(self) -> None:
        async def test() -> None:
            async with talking() as (server, app, chat):
                asking = asyncio.create_task(events_of(chat, "hang"))
                await app.hung.wait()
                query = f"?resume={chat.session['resume_token']}&last_seq=0&epoch={chat.session['epoch']}"
                async with connect(f"{server.urls[0]}{query}") as second:
                    with pytest.raises(ConnectionLost) as caught:
                        await asking
                    assert caught.value.code == 4502
                    assert second.session["recovered"] is True
                    events = second.events()
                    assert [(await anext(events)).name for _ in range(2)] == ["start", "token"]
                    assert await second.stop()
                    assert (await anext(events)).data["status"] == "stopped"

        run(test())


class TestEnding:
    def test_the_session_is_gone(self) -> None:
        async def test() -> None:
            async with talking() as (server, app, chat):
                asking = asyncio.create_task(events_of(chat, "hang"))
                await app.hung.wait()
                await chat.end()
                assert (await asking)[-1].data["status"] == "stopped"
                assert (await chat.lost()).code == 1000
                assert list(server.sessions) == []
                await chat.end()
                assert chat.state == "closed"

        run(test())


class TestHandingOver:
    def test_a_server_that_runs_empty_sends_its_clients_to_the_next(self) -> None:
        async def test() -> None:
            app, next_app = App(), App()
            async with Server(app.generate, Config(port=0, drain_timeout=20)) as server:
                async with connect(server.urls[0], reconnect=True) as chat:
                    before = chat.session_id
                    asking = asyncio.create_task(events_of(chat, "hang"))
                    await app.hung.wait()
                    draining = asyncio.create_task(server.drain())
                    events = chat.events()
                    assert (await anext(events)).name == "drain"
                    # The old server begins nothing any more: the new one will.
                    later = asyncio.create_task(text_of(chat, "for the next"))
                    await asyncio.sleep(0.1)
                    assert await chat.stop()
                    assert (await asking)[-1].data["status"] == "stopped"
                    await draining
                    config = Config(port=int(server.urls[0].split(":")[2].split("/")[0]))
                    async with Server(next_app.generate, config):
                        assert await later == "forthenext"
                        assert chat.session_id != before
                        assert [(await anext(events)).name for _ in range(2)] == ["reconnecting", "session"]

        run_virtually(test())
