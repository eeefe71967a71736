"""How long sessions and their connections live, how they end, and which of them go where there are too many."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from tests.net.steps import Steps, begun, flags, serve
from tests.peer import CLOSE, Peer, masked
from wsserver import Config, Request, Server, SessionView, Turn, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestAge:
    def test_a_connection_that_is_too_old_has_to_come_back(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            began = asyncio.get_running_loop().time()
            async with Peer.connect(server.urls[0]) as first:
                assert (await first.closed())[0] == 4004
                assert 90 <= asyncio.get_running_loop().time() - began <= 101
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                assert flags(second)["resumed"] is True

        serve(story, max_age=100, ping_interval=0)

    def test_they_do_not_leave_together(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            loop = asyncio.get_running_loop()

            async def leaves() -> float:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.closed()
                    return loop.time()

            times = await asyncio.gather(*(leaves() for _ in range(50)))
            assert max(times) - min(times) > 3

        serve(story, max_age=100, ping_interval=0)


class TestTheEnd:
    def test_on_close_is_told_once_of_every_session(self) -> None:
        closed: list[tuple[str, list[str]]] = []

        async def on_open(session: SessionView, request: Request) -> None:
            session.state["kind"] = request.query

        async def on_close(session: SessionView) -> None:
            closed.append((session.state["kind"], [said["content"] for said in session.history]))

        async def generate(turn: Turn) -> AsyncIterator[str]:
            turn.session.state["kind"] += "!"
            yield "yes"

        async def main() -> None:
            server = Server(generate, Config(port=0, resume_ttl=10), on_open=on_open, on_close=on_close)
            async with server:
                async with Peer.connect(server.urls[0] + "?left") as left:
                    await left.ask("left?")
                    await left.turn()
                async with Peer.connect(server.urls[0] + "?ended") as ended:
                    await ended.send({"event": "end"})
                    await ended.closed()
                async with Peer.connect(server.urls[0] + "?kicked") as kicked:
                    await server.end(kicked.session["session_id"])
                    assert await kicked.closed() == (4506, "ended by the application")
                await asyncio.sleep(0)
                assert closed == [("ended", []), ("kicked", [])]
                await asyncio.sleep(11)
                assert closed[2:] == [("left!", ["left?", "yes"])]
                async with Peer.connect(server.urls[0] + "?shutdown"):
                    await server.close()
                assert closed[3:] == [("shutdown", [])]
            assert server.sessions.pool.used == 0

        run_virtually(main())

    def test_one_that_hangs_or_fails_holds_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        async def on_close(session: SessionView) -> None:
            if session.user is None:
                await asyncio.sleep(1e6)

        async def main() -> float:
            async with Server(Steps(), Config(port=0, close_timeout=5), on_close=on_close) as server:
                async with Peer.connect(server.urls[0]):
                    pass
                began = server.loop.time()
            return server.loop.time() - began

        assert run_virtually(main()) < 7
        assert "on_close" in caplog.text


class TestMemory:
    def test_the_longest_absent_lose_their_log_first_and_are_told(self) -> None:
        async def answer(turn: Turn) -> AsyncIterator[str]:
            yield "x" * 20_000

        async def main() -> None:
            async with Server(answer, Config(port=0, max_memory=200_000, handshake_rate=0)) as server:
                gone = []
                for _ in range(6):
                    async with Peer.connect(server.urls[0]) as peer:
                        await peer.ask("go")
                        await peer.turn()
                    await server.sockets.emptied()
                    gone.append(peer)
                await asyncio.sleep(1)
                assert server.sessions.pool.used <= 200_000
                recovered = []
                for peer in gone:
                    async with Peer.connect(server.urls[0] + peer.resume(1)) as again:
                        assert again.session["data"]["resumed"] is True
                        recovered.append(again.session["data"]["recovered"])
                        await again.send({"event": "history"})
                        while (event := await again.event())["event"] != "history":
                            pass
                        assert event["data"]["items"][1]["content"] == "x" * 20_000
                assert recovered[0] is False
                assert recovered[-1] is True
                assert recovered == sorted(recovered)

        run_virtually(main())

    def test_sessions_go_where_nothing_else_is_left(self) -> None:
        async def answer(turn: Turn) -> AsyncIterator[str]:
            for _ in range(40 if turn.content == "long" else 1):
                yield "x" * 100_000

        async def main() -> None:
            most = 8_000_000
            config = Config(port=0, max_memory=2_000_000, soft_limit=most, hard_limit=most, max_log_size=most)
            async with Server(answer, config) as server:
                for _ in range(3):
                    async with Peer.connect(server.urls[0]) as away:
                        await away.ask("short")
                        await away.turn()
                assert len(server.sessions) == 3
                async with Peer.connect(server.urls[0]) as slow:
                    # What it has not read yet must stay.
                    await slow.ask("long")
                    await asyncio.sleep(1)
                    assert len(server.sessions) == 1
                    assert len(await slow.turn()) == 42

        run_virtually(main())

    def test_where_all_remember_the_same_the_absent_forget_before_those_who_are_there(self) -> None:
        async def answer(turn: Turn) -> AsyncIterator[str]:
            yield "x" * 20_000
            # Room is made between the answer and its history.
            await asyncio.sleep(0.01)

        async def main() -> None:
            async with Server(answer, Config(port=0, max_memory=100_000, handshake_rate=0)) as server:
                async with Peer.connect(server.urls[0]) as stays:
                    await stays.ask("go")
                    await stays.turn()
                    for _ in range(8):
                        async with Peer.connect(server.urls[0]) as peer:
                            await peer.ask("go")
                            await peer.turn()
                            await peer.write(masked(CLOSE))
                            await peer.gone()
                        await asyncio.sleep(1)
                        assert server.sessions.pool.used <= 100_000
                    await stays.send({"event": "history"})
                    assert len((await stays.event("history"))["data"]["items"]) == 2

        run_virtually(main())

    def test_who_remembers_most_forgets_before_anybody_else_has_to_go(self) -> None:
        async def answer(turn: Turn) -> AsyncIterator[str]:
            yield "x" * (20_000 if turn.content == "long" else 1000)

        async def main() -> None:
            async with Server(answer, Config(port=0, max_memory=100_000)) as server:
                async with Peer.connect(server.urls[0]) as away:
                    await away.ask("short")
                    await away.turn()
                async with Peer.connect(server.urls[0]) as greedy:
                    for _ in range(10):
                        await greedy.ask("long")
                        await greedy.turn()
                        await asyncio.sleep(1)
                        assert server.sessions.pool.used <= 100_000
                    # The share of each of two sessions has room for two answers.
                    await greedy.send({"event": "history"})
                    items = (await greedy.event("history"))["data"]["items"]
                    assert [(item["turn"], item["role"]) for item in items][-1] == (10, "assistant")
                    assert 0 < len(items) <= 8
                    async with Peer.connect(server.urls[0] + away.resume(0)) as again:
                        assert again.session["data"]["resumed"] is True

        run_virtually(main())


class TestManyAbsences:
    def test_who_comes_and_goes_in_haste_leaves_no_more_sessions_than_it_may_have_connections(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as stays:
                left = []
                for _ in range(5):
                    async with Peer.connect(server.urls[0]) as peer:
                        left.append(peer)
                    await asyncio.sleep(1)
                assert len(server.sessions) == 1 + 3
                resumed = []
                for peer in left:
                    async with Peer.connect(server.urls[0] + peer.resume(0)) as again:
                        resumed.append(again.session["data"]["resumed"])
                        await again.send({"event": "end"})
                        await again.closed()
                    await asyncio.sleep(1)
                assert resumed == [False, False, True, True, True]
                await begun(stays, steps, 1)

        serve(story, max_connections_per_ip=3)

    @pytest.mark.parametrize(
        ("limit", "users", "left"),
        [({"max_connections_per_user": 2}, 3, [*"001122"]), ({"max_connections": 4}, 12, ["10", "11", "8", "9"])],
        ids=["of a user", "in all"],
    )
    def test_the_longest_absent_go(self, limit: dict[str, int], users: int, left: list[str]) -> None:
        async def authenticate(request: Request) -> User | None:
            return User(request.query)

        async def main() -> None:
            config = Config(port=0, handshake_rate=0, **limit)  # type: ignore[arg-type]
            async with Server(Steps(), config, authenticate=authenticate) as server:
                for number in range(12):
                    async with Peer.connect(f"{server.urls[0]}?{number % users}"):
                        pass
                    await asyncio.sleep(1)
                assert sorted(session.user or "" for session in server.sessions) == left

        run_virtually(main())
