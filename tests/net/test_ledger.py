"""One line for each connection and each turn, and the ids that join them."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import CLOSE, Peer, masked
from wsserver import Config, Request, Server, TurnError, User, bearer_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from wsserver import Turn

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


async def generate(turn: Turn) -> AsyncIterator[str]:
    if turn.content == "fail":
        raise TurnError("out of\ntea", "there is none")
    if turn.content == "hang":
        await asyncio.Event().wait()
    yield f"{turn.traceparent}"


async def authenticate(request: Request) -> User | None:
    token = bearer_token(request)
    return User(token) if token else None


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[dict[str, str]]]:
    """The fields of the lines with this beginning, as text."""
    caplog.set_level(logging.INFO, "wsserver.access")

    def found(beginning: str) -> list[dict[str, str]]:
        return [
            dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', record.getMessage()))
            for record in caplog.records
            if record.getMessage().startswith(beginning)
        ]

    return found


Lines = Any


def serve(story: Callable[[Server], Awaitable[None]], *, users: bool = False, **settings: Any) -> None:
    async def main() -> None:
        config = Config(port=0, **settings)
        async with Server(generate, config, authenticate=authenticate if users else None) as server:
            await story(server)

    run_virtually(main())


class TestConnections:
    def test_closed_by_the_client(self, lines: Lines) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                name = peer.session["session_id"]
                await peer.ask("hello")
                await peer.turn()
                await peer.write(masked(CLOSE, (1000).to_bytes(2, "big") + b"whatever a client says"))
                await peer.gone()
            await server.sockets.emptied()
            [line] = lines("connection closed ")
            assert re.fullmatch("[0-9a-f]{6,10}", line.pop("connection"))
            assert 0 <= float(line.pop("seconds")) < 0.1
            assert int(line.pop("bytes_in")) > 40
            assert int(line.pop("bytes_out")) > 300
            assert line == {
                "session": name,
                "user": "-",
                "address": "127.0.0.1",
                "code": "1000",
                "by": "client",
                "reason": "-",
                "messages_in": "1",
                "messages_out": "4",
                "trace_id": "-",
            }

        serve(story)

    def test_closed_by_the_server(self, lines: Lines) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await server.end(peer.session["session_id"], "tidying up")
                await peer.closed()
            await server.sockets.emptied()
            [line] = lines("connection closed ")
            assert (line["code"], line["by"], line["reason"]) == ("4506", "server", '"tidying up"')

        serve(story)

    def test_lost(self, lines: Lines) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0], echo=True) as peer:
                peer.reset()
            await server.sockets.emptied()
            [line] = lines("connection closed ")
            assert (line["code"], line["by"], line["reason"], line["session"]) == ("1006", "-", "-", "-")

        serve(story, echo=True)

    def test_two_have_two_names(self, lines: Lines) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]), Peer.connect(server.urls[0]):
                pass
            await server.sockets.emptied()
            one, other = lines("connection closed ")
            assert one["connection"] != other["connection"]

        serve(story)

    @pytest.mark.parametrize("shown", [True, False])
    def test_people(self, lines: Lines, shown: bool) -> None:
        """A user's name ends neither its field nor the line."""

        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0], "Authorization: Bearer ada") as peer:
                # A token can say anything.
                server.sessions[peer.session["session_id"]].user = 'ada" code=1\n2026 ERROR'
            await server.sockets.emptied()
            [line] = lines("connection closed ")
            assert line["user"] == (r'"ada\" code=1\n2026 ERROR"' if shown else "-")
            assert line["address"] == ("127.0.0.1" if shown else "-")
            assert line["code"] == "1006"

        serve(story, users=True, log_people=shown)

    def test_taken_over(self, lines: Lines) -> None:
        """Its place was another's before it ended."""

        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as older:
                async with Peer.connect(server.urls[0] + older.resume(0)) as newer:
                    assert (await older.closed())[0] == 4502
                    older.reset()
                    await newer.ask("hello")
                    await newer.turn()
                    [line] = lines("connection closed ")
                    assert (line["code"], line["address"]) == ("4502", "127.0.0.1")
                    assert line["session"] == newer.session["session_id"]

        serve(story)


class TestTurns:
    def test_completed(self, lines: Lines) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("hello")
                await peer.turn()
                await server.turns.all_ended()
                [line] = lines("turn over ")
                assert 0 <= float(line.pop("first_token")) <= float(line.pop("seconds")) < 0.1
                assert line == {
                    "session": peer.session["session_id"],
                    "turn": "1",
                    "end": "completed",
                    "error": "-",
                    "tokens": "1",
                    "trace_id": "-",
                }

        serve(story)

    def test_failed(self, lines: Lines) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("fail")
                await peer.turn()
                await server.turns.all_ended()
                [line] = lines("turn over ")
                assert (line["end"], line["error"], line["first_token"]) == ("failed", r'"out of\ntea"', "-")

        serve(story)

    def test_one_that_never_began(self, lines: Lines) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                name = peer.session["session_id"]
                await peer.ask("hang")
                await peer.ask("hello")
                await peer.send({"event": "stop", "data": {"turn": 2}})
                while not (await peer.event())["data"].get("final"):
                    pass
                line = next(line for line in lines("turn over ") if line["turn"] == "2")
                assert (line["session"], line["end"], line["seconds"], line["tokens"]) == (name, "stopped", "-", "0")

        serve(story)


class TestTraces:
    def test_are_taken_over_given_to_the_callback_and_logged(self, lines: Lines) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0], f"traceparent: {TRACEPARENT}") as peer:
                await peer.ask("hello")
                assert (await peer.turn())[1]["data"]["value"] == TRACEPARENT
                await server.turns.all_ended()
                assert list(server.traceparents.values()) == [TRACEPARENT]
            await server.sockets.emptied()
            assert server.traceparents == {}
            assert [line["trace_id"] for line in (*lines("turn over "), *lines("connection closed "))] == [TRACE, TRACE]

        serve(story)

    @pytest.mark.parametrize("value", ["nonsense", f"{TRACEPARENT}\r\ntraceparent: x", ""])
    def test_what_is_invalid_is_none(self, lines: Lines, value: str) -> None:
        async def story(server: Server) -> None:
            async with Peer.connect(server.urls[0], f"traceparent: {value}") as peer:
                await peer.ask("hello")
                assert (await peer.turn())[1]["data"]["value"] == "None"
                assert server.traceparents == {}

        serve(story)

    def test_each_connection_has_its_own(self) -> None:
        async def story(server: Server) -> None:
            other = TRACEPARENT.replace("4bf9", "5bf9")
            async with Peer.connect(server.urls[0], f"traceparent: {TRACEPARENT}") as one:
                pass
            async with (
                Peer.connect(server.urls[0] + one.resume(0), f"traceparent: {other}") as two,
                Peer.connect(server.urls[0]) as three,
            ):
                await two.event("replayed")
                for peer, said in ((two, other), (three, "None")):
                    await peer.ask("hello")
                    assert (await peer.turn())[1]["data"]["value"] == said

        serve(story)


def test_nothing_is_made_where_nothing_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "wsserver.access")
    monkeypatch.setattr("wsserver.net.ledger.write", None)

    async def story(server: Server) -> None:
        async with Peer.connect(server.urls[0]) as peer:
            await peer.ask("hello")
            await peer.turn()
        await server.sockets.emptied()
        assert server.counters.turns["completed"] == server.counters.closed["1006"] == 1

    serve(story)
    assert not caplog.records
