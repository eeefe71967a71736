"""How a conversation ends, and what goes by on its way."""

from __future__ import annotations

import asyncio

import pytest

from tests.clock import run_virtually
from wsserver.client import ConnectionLost, Event, connect
from wsserver.client import link as link_module
from wsserver.wire.frames import PING, PONG

from .peer import Peer, scripted
from .talking import events_of, run, talking


class TestLosing:
    def test_a_server_that_shuts_down_ends_the_turn_first(self) -> None:
        async def test() -> None:
            async with talking() as (server, app, chat):
                asking = asyncio.create_task(events_of(chat, "hang"))
                await app.hung.wait()
                await server.close()
                assert (await asking)[-1].data["code"] == "server_shutdown"
                lost = await chat.lost()
                assert (lost.code, lost.reason) == (1012, "the server is shutting down")
                for request in (events_of(chat, "again"), chat.stop(), chat.history()):
                    with pytest.raises(ConnectionLost, match="1012"):
                        await request

        run(test())

    def test_a_connection_that_breaks_ends_all_that_waits(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            refs = [(await peer.hear())["id"] for _ in range(3)]
            await peer.tell("start", {"ref": refs[0]}, turn=1)
            await peer.tell("token", {"value": "a"}, turn=1)
            peer.writer.transport.abort()

        async def test() -> None:
            async with scripted(script) as url, connect(url) as chat:
                answer = chat.ask("hi")
                first, *others = await asyncio.gather(
                    anext(answer), chat.stop(), chat.history(), return_exceptions=True
                )
                assert isinstance(first, Event)
                assert [type(other) for other in others] == [ConnectionLost, ConnectionLost]
                # What had come before is not lost with it.
                assert (await anext(answer)).data == {"value": "a"}
                with pytest.raises(ConnectionLost) as caught:
                    await anext(answer)
                assert caught.value.code == 1006

        run(test())

    @pytest.mark.parametrize(
        "message",
        ["{", "[]", '{"event":5}', '{"event":"token","data":5}', '{"data":{}}', "[" * 100_000],
    )
    def test_what_is_no_event_fails_the_connection(self, message: str) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            await peer.send(message)
            await peer.end()
            assert peer.protocol.close_code == 1007

        async def test() -> None:
            async with scripted(script) as url, connect(url) as chat:
                assert (await chat.lost()).code == 1007

        run(test())

    def test_a_server_without_a_sign_of_life_is_given_up(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open(ping_interval=20)
            await peer.reader.read()

        async def test() -> None:
            async with scripted(script) as url, connect(url) as chat:
                with pytest.raises(ConnectionLost, match="1006 no sign of life"):
                    await events_of(chat, "hi")

        run_virtually(test())

    def test_closing_ends_even_if_the_server_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(link_module, "CLOSE_TIMEOUT", 0.05)

        async def script(peer: Peer) -> None:
            await peer.open()
            await asyncio.Event().wait()

        async def test() -> None:
            async with scripted(script) as url:
                async with connect(url) as chat:
                    await chat.close()
                    assert (await chat.lost()).code == 1006

        run(test())

    def test_closing_twice_is_closing_once(self) -> None:
        async def test() -> None:
            async with talking() as (server, _, chat):
                await asyncio.gather(chat.close(), chat.close())
                assert (await chat.lost()).code == 1000
                await chat.close()
                await server.sockets.emptied()

        run(test())


class TestWhatGoesBy:
    def test_native_pings_are_answered_while_nothing_is_asked(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            peer.protocol.send(PING, b"are you there")
            await peer.flush()
            pong = await peer.reader.readexactly(2 + 4 + 13)
            assert pong[:2] == bytes((0x80 | PONG, 0x80 | 13))
            await peer.close(1000)

        async def test() -> None:
            async with scripted(script) as url, connect(url) as chat:
                assert (await chat.lost()).code == 1000

        run(test())

    def test_events_that_nobody_asked_for_are_passed_over(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open(epoch=1)
            await peer.tell("session", {"epoch": 2})
            await peer.tell("token", {"value": "of a turn of yesterday"}, turn=1)
            await peer.tell("news", {"ref": ["odd"]})
            await peer.tell("error", {"code": "bad_message", "ref": ["odd"]})
            await peer.tell("error", {"code": "bad_message"})
            await peer.tell("history", {"items": []})
            ref = (await peer.hear())["id"]
            await peer.tell("ack", {"ref": ref, "turn": 2})
            await peer.tell("complete", {"final": True}, turn=2)
            await peer.end()

        async def test() -> None:
            async with scripted(script) as url, connect(url) as chat:
                assert [event.name for event in await events_of(chat, "hi")] == ["complete"]
                assert chat.session["epoch"] == 1

        run(test())

    def test_an_answer_that_comes_too_late_is_nobodys(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            asked = [(await peer.hear())["id"] for _ in range(3)]
            gave_up.set()
            for ref in asked[:2]:
                await peer.tell("error", {"code": "late", "ref": ref})
            await peer.tell("ack", {"ref": asked[2]})
            await peer.end()

        async def test() -> None:
            async with scripted(script) as url, connect(url) as chat:
                impatient = [asyncio.create_task(chat.stop()), asyncio.create_task(chat.history())]
                await asyncio.sleep(0)
                for task in impatient:
                    task.cancel()
                assert await chat.stop()
                assert gave_up.is_set()

        gave_up = asyncio.Event()
        run(test())
