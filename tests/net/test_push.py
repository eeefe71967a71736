"""What an embedding program does to sessions from outside: `push`, `push_threadsafe`, `stop`, `end`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import Event, Peer
from wsserver import ClientError, Config, Server, SessionNotFound, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield "before"
    if turn.content == "wait":
        await asyncio.Event().wait()
    yield "after"


def talk(script: Callable[[Server, Peer, str], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]) as peer:
            await script(server, peer, peer.session["session_id"])

    run_virtually(main())


class TestPush:
    def test_in_the_midst_of_a_turn_it_is_logged_and_belongs_to_no_turn(self) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            await peer.ask("wait")
            await peer.event("start")
            await peer.event("token")
            await server.push(name, "ticket", {"state": "已发货"})
            assert await peer.event() == {
                "event": "ticket",
                "data": {"state": "已发货"},
                "session_id": name,
                "seq": 3,
            }
            await server.push(name, "bare")
            assert (await peer.event("bare"))["data"] == {}

        talk(script)

    def test_an_unknown_session_is_not_found(self) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            with pytest.raises(SessionNotFound, match="s_unknown") as caught:
                await server.push("s_unknown", "ticket")
            assert caught.value.session_id == "s_unknown"
            await peer.send({"event": "end"})
            await peer.closed()
            with pytest.raises(SessionNotFound):
                await server.push(name, "ticket")

        talk(script)

    @pytest.mark.parametrize("event", ["token", "complete", "session", "drain", ""])
    def test_a_name_of_the_protocol_is_refused(self, event: str) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            with pytest.raises(ValueError, match="a name that the protocol does not use"):
                await server.push(name, event)

        talk(script)

    def test_what_json_cannot_hold_is_refused_and_nothing_is_logged(self) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            with pytest.raises(TypeError, match="cannot be written as JSON"):
                await server.push(name, "ticket", {"x": object()})
            with pytest.raises(ValueError, match="'final' ends a turn"):
                await server.push(name, "ticket", {"final": True})
            await server.push(name, "ticket")
            assert (await peer.event("ticket"))["seq"] == 1

        talk(script)

    def test_from_another_thread(self) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            def work() -> list[type[BaseException]]:
                futures = [server.push_threadsafe(name, "ticket", {"n": n}) for n in range(3)]
                futures += [server.push_threadsafe("s_unknown", "ticket"), server.push_threadsafe(name, "token")]
                errors = [future.exception(5) for future in futures]
                return [type(error) for error in errors if error is not None]

            assert await asyncio.to_thread(work) == [SessionNotFound, ValueError]
            assert [(await peer.event("ticket"))["data"]["n"] for _ in range(3)] == [0, 1, 2]

        async def main() -> None:
            async with Server(answer, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await script(server, peer, peer.session["session_id"])

        asyncio.run(main())

    def test_to_a_reader_far_behind_it_waits(self) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            transport: Any = peer.writer.transport
            transport.pause_reading()
            pushed = 0

            async def push_all() -> None:
                nonlocal pushed
                for _ in range(3000):
                    await server.push(name, "chunk", {"n": pushed, "text": "x" * 10_000})
                    pushed += 1

            pushing = asyncio.create_task(push_all())
            await asyncio.sleep(5)
            stuck = pushed
            await asyncio.sleep(5)
            assert pushed == stuck < 3000, "it waits"
            transport.resume_reading()
            for number in range(3000):
                assert (await peer.event("chunk"))["data"]["n"] == number
            await pushing

        talk(script, ping_interval=0, write_timeout=0)

    @pytest.mark.parametrize("end", ["ended", "closed"])
    def test_where_the_session_ends_while_it_waits_it_is_not_found(self, end: str) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            transport: Any = peer.writer.transport
            transport.pause_reading()

            async def push_all() -> None:
                while True:
                    await server.push(name, "chunk", {"text": "x" * 10_000})

            pushing = asyncio.create_task(push_all())
            await asyncio.sleep(5)
            if end == "ended":
                await server.end(name)
            else:
                await server.close()
            with pytest.raises(SessionNotFound):
                await pushing

        talk(script, ping_interval=0, write_timeout=0, close_timeout=2)

    def test_to_somebody_who_is_away_it_waits_in_the_log(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0)) as server:
                url = server.urls[0]
                async with Peer.connect(url) as peer:
                    session = peer.session
                await server.sockets.emptied()
                await server.push(session["session_id"], "ticket", {"n": 1})
                token = session["data"]["resume_token"]
                async with Peer.connect(f"{url}?resume={token}&last_seq=0&epoch=1") as again:
                    assert (await again.event("ticket"))["data"] == {"n": 1}

        run_virtually(main())


class TestStop:
    def test_as_if_the_person_had_said_it(self) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            await peer.ask("wait")
            await peer.ask("hello")
            await peer.event("start")
            await peer.event("token")
            await server.stop(name, 1)
            complete = await peer.event("complete")
            assert (complete["turn"], complete["data"]) == (1, {"status": "stopped", "final": True})
            assert (await peer.turn())[-1]["data"]["status"] == "completed"
            await peer.ask("wait")
            await peer.ask("wait")
            await peer.event("start")
            await peer.event("token")
            await server.stop(name)
            ended: list[Event] = [await peer.event("complete") for _ in range(2)]
            assert [event["turn"] for event in ended] == [4, 3]

        talk(script)

    def test_of_nothing_and_of_nobody(self) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            with pytest.raises(ClientError) as caught:
                await server.stop(name)
            assert caught.value.code == "not_active"
            with pytest.raises(SessionNotFound):
                await server.stop("s_unknown")

        talk(script)


class TestEnd:
    def test_closes_with_4506_behind_the_final_event(self) -> None:
        async def script(server: Server, peer: Peer, name: str) -> None:
            await peer.ask("wait")
            await peer.event("start")
            await peer.event("token")
            await server.end(name, "你被请出去了")
            assert (await peer.event("complete"))["data"]["status"] == "stopped"
            assert await peer.closed() == (4506, "你被请出去了")
            with pytest.raises(SessionNotFound):
                await server.end(name)

        talk(script)

    def test_a_reason_that_no_frame_can_hold_ends_it_all_the_same(self) -> None:
        closed: list[str] = []

        async def main() -> None:
            async def on_close(session: Any) -> None:
                closed.append(session.id)

            async with (
                Server(answer, Config(port=0), on_close=on_close) as server,
                Peer.connect(server.urls[0]) as peer,
            ):
                await server.end(peer.session["session_id"], "half a \ud800" + "x" * 200)
                code, reason = await peer.closed()
                assert (code, reason[:8], len(reason)) == (4506, "half a ?", 123)
            assert closed == [peer.session["session_id"]]

        run_virtually(main())

    def test_one_that_is_away(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    session = peer.session
                await server.sockets.emptied()
                await server.end(session["session_id"])
                token = session["data"]["resume_token"]
                async with Peer.connect(f"{server.urls[0]}?resume={token}") as again:
                    assert again.session["data"]["resumed"] is False
                    assert again.session["session_id"] != session["session_id"]

        run_virtually(main())
