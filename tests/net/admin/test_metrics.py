"""The figures of a server, by what its clients and its callbacks did."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.net.instances import Instances, share
from tests.peer import CLOSE, Peer, Refused, masked, request
from wsserver import Config, HandshakeError, Request, Server, SessionView, Status, TurnError
from wsserver.counters import SECONDS
from wsserver.net.admin.metrics import METRICS, Totals, add, document
from wsserver.net.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from wsserver import Turn


async def generate(turn: Turn) -> AsyncIterator[str | Status]:
    if turn.content == "fail":
        raise TurnError("out_of_tea", "there is none")
    if turn.content == "silent":
        return
    yield Status("thinking")
    await asyncio.sleep(0.2)
    for token in ("a", "b", "c", "d"):
        yield token
        await asyncio.sleep(0.1)
    if turn.content == "hang":
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.3)


def serve(story: Callable[[Server], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with Server(generate, Config(port=0, **settings)) as server:
            await story(server)

    run_virtually(main())


async def gone(server: Server) -> None:
    """All connections have ended."""
    await server.sockets.emptied()


def values(figure: dict[str, Any], bounds: tuple[float, ...] = SECONDS) -> list[float]:
    """The upper bounds of the values in a histogram, smallest first."""
    return [
        bound for bound, number in zip((*bounds, float("inf")), figure["counts"], strict=True) for _ in range(number)
    ]


def some(figure: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in figure.items() if number}


class TestConnections:
    def test_are_counted_by_their_state(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.socket(server.urls[0]), Peer.connect(server.urls[0]), Peer.connect(server.urls[0]) as two:
                await asyncio.sleep(0.1)
                assert document(server)["connections"] == {"opening": 1, "open": 2, "closing": 0}
                await server.end(two.session["session_id"])
                assert document(server)["connections"] == {"opening": 1, "open": 1, "closing": 1}
                assert document(server)["connections_opened"] == 2
            await gone(server)
            figures = document(server)
            assert set(figures["connections"].values()) == {0}
            assert figures["connections_opened"] == 2

        serve(story)

    def test_end_with_a_code(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.write(masked(CLOSE, (1000).to_bytes(2, "big")))
                await peer.gone()
            async with Peer.connect(server.urls[0]) as peer:
                await peer.write(masked(CLOSE, (4999).to_bytes(2, "big")))
                await peer.gone()
            async with Peer.connect(server.urls[0]) as peer:
                peer.reset()
            async with Peer.connect(server.urls[0]) as peer:
                await server.end(peer.session["session_id"])
                assert (await peer.closed())[0] == 4506
                # Who answers with another code has not closed it.
                await peer.write(masked(CLOSE, (1000).to_bytes(2, "big")))
            await gone(server)
            assert some(document(server)["connections_closed"]) == {"1000": 1, "1006": 1, "4506": 1, "other": 1}

        serve(story)

    def test_messages_and_bytes_both_ways(self) -> None:
        async def story(server: Server) -> None:
            ping, pong = masked(1, b'{"event":"ping"}'), 2 + len('{"event":"pong","data":null,"session_id":"s_}"')
            async with Peer.connect(server.urls[0]) as peer:
                before = document(server)
                assert (before["messages"], before["bytes"]["in"]) == ({"in": 0, "out": 1}, 0)
                for _ in range(3):
                    await peer.write(ping)
                    await peer.event("pong")
                during = document(server)
                assert during["messages"] == {"in": 3, "out": 4}
                assert during["bytes"]["in"] == 3 * len(ping)
                assert 3 * pong < during["bytes"]["out"] - before["bytes"]["out"] < 3 * (pong + 64)
            await gone(server)
            assert document(server)["messages"] == during["messages"]
            assert document(server)["bytes"] == during["bytes"]

        serve(story)

    def test_the_echo_counts_too(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0], echo=True) as peer:
                await peer.write(masked(2, b"hello"))
                await peer.frame()
                assert document(server)["messages"] == {"in": 1, "out": 1}
                assert document(server)["sessions_opened"] == 0

        serve(story, echo=True)


class TestRefusals:
    @pytest.mark.parametrize(
        ("asked", "status", "reason"),
        [
            (request("/ws/chat", "Origin: http://evil.example"), "403", "origin"),
            (request("/ws/chat?resume=x&last_seq=y"), "400", "malformed"),
            (request("/ws/chat", "Sec-WebSocket-Protocol: bearer.x"), "400", "credentials"),
            (request("/elsewhere"), "404", "path"),
            (request().replace(b"Upgrade: websocket\r\n", b""), "426", "no_upgrade"),
            (request().replace(b"localhost", b"evil.example"), "403", "host"),
            (b"GET\r\n\r\n", "400", "malformed"),
            (b"GET / HTTP/1.1\r\nx: " + b"y" * 2**15, "431", "malformed"),
        ],
    )
    def test_are_counted_by_status_and_reason(self, asked: bytes, status: str, reason: str) -> None:
        async def story(server: Server) -> None:
            async with Peer.socket(server.urls[0]) as peer:
                await peer.write(asked)
                assert (await peer.gone()).startswith(f"HTTP/1.1 {status}".encode())
            assert document(server)["handshakes_refused"] == {status: {reason: 1}}
            assert document(server)["connections_opened"] == 0

        serve(story)

    def test_also_where_a_close_code_tells_it(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]):
                async with Peer.socket(server.urls[0]) as peer:
                    await peer.write(request("/ws/chat", "Sec-WebSocket-Protocol: wsserver.v1"))
                    await peer.read_head()
                    assert (await peer.closed())[0] == 1013
            assert document(server)["handshakes_refused"] == {"503": {"full": 1}}

        serve(story, max_connections=1)

    def test_of_limits_and_of_time(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]):
                with pytest.raises(Refused, match="429"):
                    async with Peer.connect(server.urls[0]):
                        pass
                await asyncio.sleep(0.1)
                assert len(server.sockets) == 1
                async with Peer.socket(server.urls[0]) as slow:
                    async with Peer.socket(server.urls[0]) as third:
                        assert await third.gone() == b""
                    assert b"408" in await slow.gone()
            refused = document(server)["handshakes_refused"]
            assert refused == {"429": {"address": 1}, "408": {"slow": 1}, "none": {"sockets": 1}}

        serve(story, max_connections_per_ip=1)

    def test_a_plain_page_is_no_refusal(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.socket(server.urls[0]) as peer:
                await peer.write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert b"404" in await peer.gone()
            assert document(server)["handshakes_refused"] == {}

        serve(story)

    @pytest.mark.parametrize(
        ("error", "counted"),
        [
            (HandshakeError(402, "pay first"), {"402": {"application": 1}}),
            (HandshakeError(599, "odd", reason="whatever they made up"), {"other": {"other": 1}}),
        ],
    )
    def test_an_application_makes_up_no_labels(self, error: HandshakeError, counted: dict[str, Any]) -> None:
        async def on_open(session: SessionView, request: Request) -> None:
            raise error

        async def main() -> None:
            async with Server(generate, Config(port=0), on_open=on_open) as server:
                with pytest.raises(Refused):
                    async with Peer.connect(server.urls[0]):
                        pass
                assert document(server)["handshakes_refused"] == counted

        run_virtually(main())

    def test_a_failure_of_the_application(self) -> None:
        async def authenticate(request: Request) -> None:
            raise ZeroDivisionError

        async def main() -> None:
            async with Server(generate, Config(port=0), authenticate=authenticate) as server:
                with pytest.raises(Refused, match="500"):
                    async with Peer.connect(server.urls[0]):
                        pass
                assert document(server)["handshakes_refused"] == {"500": {"failure": 1}}

        run_virtually(main())

    def test_nobody_is_known(self) -> None:
        async def authenticate(request: Request) -> None:
            return None

        async def main() -> None:
            async with Server(generate, Config(port=0), authenticate=authenticate) as server:
                with pytest.raises(Refused, match="401"):
                    async with Peer.connect(server.urls[0]):
                        pass
                assert document(server)["handshakes_refused"] == {"401": {"token": 1}}

        run_virtually(main())


class TestTurns:
    def test_a_turn_and_its_times(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("hello")
                assert [(await peer.event())["event"] for _ in range(4)] == ["start", "status", "token", "token"]
                during = document(server)
                assert (during["tokens"], during["turns_running"], some(during["turns"])) == (2, 1, {})
                await peer.turn()
                await server.turns.all_ended()
            figures = document(server)
            assert (figures["tokens"], figures["turns_running"]) == (4, 0)
            assert some(figures["turns"]) == {"completed": 1}
            assert values(figures["first_token_seconds"]) == [0.25]
            assert figures["first_token_seconds"]["sum"] == pytest.approx(0.2, abs=0.01)
            assert figures["token_gap_seconds"]["sum"] == pytest.approx(0.1, abs=0.01)
            assert figures["turn_seconds"]["sum"] == pytest.approx(0.6, abs=0.01)

        serve(story)

    @pytest.mark.parametrize(("content", "end"), [("silent", "completed"), ("fail", "failed")])
    def test_one_without_tokens_has_no_times_of_them(self, content: str, end: str) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask(content)
                await peer.turn()
                await server.turns.all_ended()
            figures = document(server)
            assert some(figures["turns"]) == {end: 1}
            assert figures["tokens"] == sum(figures["first_token_seconds"]["counts"]) == 0
            [session] = server.sessions
            assert session.log.on_token is None, "nothing is kept of the turn"
            assert sum(figures["turn_seconds"]["counts"]) == 1

        serve(story)

    def test_what_is_pushed_is_no_token(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("hello")
                await peer.event("start")
                await server.push(peer.session["session_id"], "news", {})
                await peer.turn()
            assert document(server)["tokens"] == 4

        serve(story)

    def test_stopped_with_what_waits(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                for _ in range(2):
                    await peer.ask("hang")
                while (await peer.event())["event"] != "token":
                    pass
                await peer.send({"event": "stop"})
                for _ in range(2):
                    await peer.turn()
                figures = document(server)
                assert some(figures["turns"]) == {"stopped": 2}
                assert (figures["turns_running"], figures["tokens"]) == (0, 1)
                assert sum(figures["turn_seconds"]["counts"]) == 1, "the other one never began"
                assert values(figures["cancel_seconds"]) == [0.001]
                assert max(values(figures["stop_seconds"])) <= 0.0025
                assert len(values(figures["stop_seconds"])) == 2

        serve(story)

    def test_how_long_a_callback_takes_to_end(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("hang")
                await asyncio.sleep(1)
                await peer.send({"event": "stop"})
                await peer.turn()
                await server.turns.all_ended()
            figures = document(server)
            assert figures["cancel_seconds"]["sum"] == pytest.approx(0.3, abs=0.01)
            assert (some(figures["turns"]), figures["tokens"]) == ({"stopped": 1}, 4)

        serve(story)

    def test_a_stop_that_its_client_does_not_read_takes_as_long_as_that(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("hang")
                await asyncio.sleep(1)
                [connection] = [member for member in server.sockets if isinstance(member, Connection)]
                connection.pause_writing()
                assert document(server)["slow_readers"] == 1
                await peer.send({"event": "stop"})
                await asyncio.sleep(2)
                figures = document(server)
                assert sum(figures["stop_seconds"]["counts"]) == 0
                assert 60 < figures["unsent_bytes"] < 400
                connection.resume_writing()
                figures = document(server)
                assert figures["stop_seconds"]["sum"] == pytest.approx(2, abs=0.1)
                assert (figures["slow_readers"], figures["unsent_bytes"]) == (0, 0)

        serve(story)

    @pytest.mark.parametrize("end", ["timeout", "disconnected", "interrupted", "shutdown"])
    def test_ended_by_others(self, end: str) -> None:
        async def main() -> None:
            config = Config(port=0, turn_timeout=2, resume_ttl=0, busy="interrupt")
            async with Server(generate, config) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.ask("hang")
                    await peer.event("start")
                    if end == "interrupted":
                        await peer.ask("silent")
                        await peer.turn()
                    if end == "timeout":
                        await peer.turn()
                    if end == "shutdown":
                        await server.close()
                await server.turns.all_ended()
                assert document(server)["turns"][end] == 1

        run_virtually(main())

    def test_one_whose_callback_never_ends_counts_once(self) -> None:
        async def stubborn(turn: Turn) -> AsyncIterator[str]:
            try:
                yield "a"
            finally:
                while len(server.turns.runs) and not released.is_set():
                    try:
                        await released.wait()
                    except asyncio.CancelledError:
                        continue

        async def main() -> None:
            global server, released
            released = asyncio.Event()
            async with Server(stubborn, Config(port=0, close_timeout=1, turn_timeout=1)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.ask("hello")
                    events = await peer.turn()
                    await asyncio.sleep(5)
                    assert sum(document(server)["turns"].values()) == 1, events
                    assert document(server)["tokens"] == 1
                    released.set()
                    await asyncio.sleep(1)
                    assert sum(document(server)["turns"].values()) == 1
                    assert document(server)["turns_running"] == 0

        run_virtually(main())


server: Server
released: asyncio.Event


class TestSessions:
    def test_attached_and_detached(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]), Peer.connect(server.urls[0]) as peer:
                assert document(server)["sessions"] == {"attached": 2, "detached": 0}
                await peer.ask("silent")
                await peer.turn()
                assert document(server)["log_bytes"] == server.sessions.pool.used > 0
            await gone(server)
            figures = document(server)
            assert figures["sessions"] == {"attached": 0, "detached": 2}
            assert (figures["sessions_opened"], figures["log_limit_bytes"]) == (2, server.config.max_memory)

        serve(story)

    def test_resumes_and_what_they_missed(self) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("hello")
                await peer.turn()
            async with Peer.connect(server.urls[0] + peer.resume(1)):
                pass
            async with Peer.connect(server.urls[0] + peer.resume(6)):
                pass
            async with Peer.connect(server.urls[0] + peer.resume(99)):
                pass
            async with Peer.connect(server.urls[0] + "?resume=nobody&last_seq=0&epoch=1"):
                pass
            figures = document(server)
            assert figures["resumes"] == {"recovered": 2, "hole": 1, "unknown": 1}
            assert figures["replayed_events"]["sum"] == 5
            assert figures["replayed_events"]["counts"][:3] == [1, 0, 1]
            assert figures["sessions_opened"] == 2

        serve(story)


class TestTheProcess:
    @pytest.mark.timed
    def test_a_loop_that_is_held_up_shows(self) -> None:
        async def main() -> None:
            async with Server(generate, Config(port=0)) as server:
                await asyncio.sleep(0.3)
                calm = document(server)["loop_lag_seconds"]
                time.sleep(0.6)  # noqa: ASYNC251
                await asyncio.sleep(0.3)
                figures = document(server)
                assert sum(calm["counts"]) >= 1
                assert 0.3 < figures["loop_lag_seconds"]["sum"] - calm["sum"] < 0.7
                assert figures["cpu_seconds"] == pytest.approx(time.process_time(), abs=0.5)
                assert figures["workers"] == 1

        asyncio.run(main())

    def test_a_store_has_its_state_and_its_lag(self) -> None:
        async def story(instances: Instances) -> None:
            server = await instances.start()

            def redis() -> list[float]:
                figures = document(server)
                return [figures[f"redis_{name}"] for name in ("up", "lag_seconds", "errors")]

            async with Peer.connect(server.urls[0]) as peer:
                await asyncio.sleep(1)
                assert redis() == [1, 0, 0]
                instances.pause(server)
                await server.push(peer.session["session_id"], "news", {})
                await asyncio.sleep(2)
                assert redis() == [1, pytest.approx(2, abs=0.1), 0]
                instances.go_on(server)
                instances.ways[server].closed = True
                await asyncio.sleep(5)
                up, lag, errors = redis()
                assert up == 0
                assert lag == pytest.approx(7, abs=0.1)
                assert errors > 3
                instances.ways[server].closed = False
                await asyncio.sleep(10)
                assert redis() == [1, 0, pytest.approx(errors, abs=5)]
                figures = document(server)
                assert figures["sessions"] == {"attached": 1, "detached": 0}

        share(story, generate)

    def test_without_a_store_there_is_none_of_it(self) -> None:
        async def story(server: Server) -> None:
            assert not [name for name in document(server) if name.startswith("redis")]

        serve(story)

    def test_sessions_that_move_count_once(self) -> None:
        async def story(instances: Instances) -> None:
            one, other = await instances.start(), await instances.start()
            async with Peer.connect(one.urls[0]) as peer:
                await peer.ask("hang")
                await asyncio.sleep(2)
            async with Peer.connect(other.urls[0] + peer.resume(0)) as peer:
                await peer.send({"event": "stop"})
                assert (await peer.turn())[-1]["data"]["status"] == "stopped"
                await asyncio.sleep(5)
            async with Peer.connect(other.urls[0] + "?resume=nobody&last_seq=0&epoch=1"):
                pass
            figures = add((document(one), document(other)))
            assert figures["resumes"] == {"recovered": 1, "hole": 0, "unknown": 1}
            assert (figures["sessions_opened"], figures["tokens"]) == (2, 4)
            assert some(figures["turns"]) == {"stopped": 1}
            assert figures["workers"] == 2

        share(story, generate)


def test_every_figure_is_explained_and_every_explanation_has_a_figure() -> None:
    async def story(instances: Instances) -> None:
        assert {*document(await instances.start()), "worker_restarts"} == set(METRICS)

    share(story, generate)


class TestSeveralProcesses:
    def test_add_up(self) -> None:
        one: dict[str, Any] = {
            "tokens": 3,
            "turns": {"completed": 1},
            "handshakes_refused": {"429": {"rate": 1}, "403": {"origin": 2}},
            "turn_seconds": {"counts": [1, 2], "sum": 0.5},
            "redis_lag_seconds": 0.5,
        }
        other: dict[str, Any] = {
            "tokens": 4,
            "turns": {"completed": 2, "failed": 1},
            "handshakes_refused": {"429": {"rate": 1, "user": 5}},
            "turn_seconds": {"counts": [0, 1], "sum": 0.25},
            "redis_lag_seconds": 0.25,
            "redis_up": 1,
        }
        assert add((one, other)) == {
            "tokens": 7,
            "turns": {"completed": 3, "failed": 1},
            "handshakes_refused": {"429": {"rate": 2, "user": 5}, "403": {"origin": 2}},
            "turn_seconds": {"counts": [1, 3], "sum": 0.75},
            "redis_lag_seconds": 0.5,
            "redis_up": 1,
        }
        assert add(()) == {}
        assert (one["tokens"], one["turn_seconds"]) == (3, {"counts": [1, 2], "sum": 0.5})

    def test_what_was_counted_stays_when_one_ends(self) -> None:
        totals = Totals()
        first = {1: {"tokens": 3, "sessions": {"attached": 1}}, 2: {"tokens": 4, "sessions": {"attached": 2}}}
        assert totals.of(first, {1, 2}) == {"tokens": 7, "sessions": {"attached": 3}}
        # Another one has taken the place of the first, and the second does not answer.
        assert totals.of({3: {"tokens": 0, "sessions": {"attached": 0}}}, {2, 3}) == {
            "tokens": 7,
            "sessions": {"attached": 2},
        }
        assert totals.of({3: {"tokens": 1}, 2: {"tokens": 5}}, {2, 3}) == {"tokens": 9}
        assert totals.of({3: {"tokens": 2}}, {3}) == {"tokens": 10}
