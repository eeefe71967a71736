"""The admin port: what a program outside sees and does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clock import run_virtually
from tests.net.admin.program import administered, generate
from tests.peer import Peer, text_of
from wsserver import Config, Server


def test_count() -> None:
    async def main() -> None:
        async with administered() as (server, program), Peer.connect(server.urls[0]):
            reply = await program.call("GET", "/count")
            assert (reply.status, reply.body) == (200, {"instances": 1, "connections": 1, "sessions": 1, "turns": 0})

    run_virtually(main())


class TestSessions:
    def test_are_counted_and_listed(self) -> None:
        async def main() -> None:
            async with administered() as (server, program), Peer.connect(server.urls[0]) as peer:
                async with Peer.connect(server.urls[0]) as other:
                    await other.ask("wait")
                    await other.event("start")
                await asyncio.sleep(1)
                reply = await program.call("GET", "/sessions")
                assert reply.status == 200
                assert reply.body["count"] == 2
                listed = {session["id"]: session for session in reply.body["sessions"]}
                idle, away = (listed[one.session["session_id"]] for one in (peer, other))
                assert idle == {
                    "id": peer.session["session_id"],
                    "user": None,
                    "connected": True,
                    "active_turn": None,
                    "waiting": 0,
                    "seq": 0,
                    "log_size": 0,
                }
                assert (away["connected"], away["active_turn"], away["seq"]) == (False, 1, 2)

        run_virtually(main())

    def test_page_by_page(self) -> None:
        async def main() -> None:
            async with administered(handshake_rate=0) as (server, program):
                for _ in range(5):
                    async with Peer.connect(server.urls[0]):
                        pass
                names: list[str] = []
                while True:
                    reply = await program.call("GET", f"/sessions?limit=2&after={names[-1] if names else ''}")
                    if not reply.body["sessions"]:
                        break
                    assert len(reply.body["sessions"]) <= 2
                    names += [session["id"] for session in reply.body["sessions"]]
                assert names == sorted(session.id for session in server.sessions)
                assert (await program.call("GET", "/sessions?limit=all")).status == 400

        run_virtually(main())

    def test_one_is_shown_with_its_history(self) -> None:
        async def main() -> None:
            async with administered() as (server, program), Peer.connect(server.urls[0]) as peer:
                await peer.ask("hello")
                await peer.turn()
                reply = await program.call("GET", f"/sessions/{peer.session['session_id']}")
                assert reply.status == 200
                assert [said["content"] for said in reply.body["history"]] == ["hello", "some "]

        run_virtually(main())

    def test_an_event_is_shown_in_one(self) -> None:
        async def main() -> None:
            async with administered() as (server, program), Peer.connect(server.urls[0]) as peer:
                path = f"/sessions/{peer.session['session_id']}/events"
                reply = await program.call("POST", path, {"event": "ticket", "data": {"state": "closed"}})
                assert (reply.status, reply.body) == (201, {"seq": 1})
                event = await peer.event("ticket")
                assert (event["data"], event["seq"]) == ({"state": "closed"}, 1)

        run_virtually(main())

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"[]",
            {"event": 7},
            {"event": "token"},
            {"data": {}},
            {"event": "x", "data": []},
            {"event": "x", "data": {"final": True}},
        ],
    )
    def test_what_is_no_event_is_refused(self, body: Any) -> None:
        async def main() -> None:
            async with administered() as (server, program), Peer.connect(server.urls[0]) as peer:
                reply = await program.call("POST", f"/sessions/{peer.session['session_id']}/events", body)
                assert reply.status == 400
                assert reply.body["error"]

        run_virtually(main())

    def test_a_push_that_finds_no_room_is_told_to_come_back(self) -> None:
        async def main() -> None:
            async with administered(max_log_size=1000, soft_limit=1000) as (server, program):
                async with Peer.connect(server.urls[0]) as peer:
                    pass
                await server.sockets.emptied()
                path = f"/sessions/{peer.session['session_id']}/events"
                statuses = []
                for _ in range(60):
                    reply = await program.call("POST", path, {"event": "note", "data": {"text": "x" * 500}})
                    statuses.append(reply.status)
                    if reply.status != 201:
                        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
                        break
                assert statuses[-1] == 503

        run_virtually(main())

    def test_its_turn_is_stopped(self) -> None:
        async def main() -> None:
            async with administered() as (server, program), Peer.connect(server.urls[0]) as peer:
                path = f"/sessions/{peer.session['session_id']}/stop"
                assert (await program.call("POST", path)).status == 409
                await peer.ask("wait")
                await peer.event("start")
                assert (await program.call("POST", path, {"turn": 2})).status == 409
                assert (await program.call("POST", path, {"turn": "1"})).status == 400
                assert (await program.call("POST", path, {"turn": 1})).body == {"stopped": True}
                events = await peer.turn()
                assert (text_of(events), events[-1]["data"]["status"]) == ("some ", "stopped")

        run_virtually(main())

    def test_it_is_ended(self) -> None:
        async def main() -> None:
            async with administered() as (server, program), Peer.connect(server.urls[0]) as peer:
                path = f"/sessions/{peer.session['session_id']}"
                reply = await program.call("DELETE", path)
                assert (reply.status, reply.body) == (204, b"")
                assert await peer.closed() == (4506, "ended by the application")
                assert (await program.call("DELETE", path)).status == 404

        run_virtually(main())


class TestDoor:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/", 404),
            ("GET", "/sessions/s_unknown", 404),
            ("POST", "/sessions/s_unknown/events", 404),
            ("GET", "/sessions/s_unknown/other", 404),
            ("PUT", "/sessions", 405),
        ],
    )
    def test_what_there_is_not(self, method: str, path: str, status: int) -> None:
        async def main() -> None:
            async with administered() as (_, program):
                reply = await program.call(method, path)
                assert reply.status == status
                assert reply.body["error"]

        run_virtually(main())

    def test_what_there_is_is_told(self) -> None:
        async def main() -> None:
            async with administered() as (_, program):
                text = (await program.call("GET", "/elsewhere")).body["error"]
                paths = text.removeprefix("there is ").split(", ")
                assert {"/healthz", "/readyz", "/sessions", "/count", "/asyncapi.json"} <= set(paths)
                for path in paths:
                    if "{" not in path:
                        assert (await program.call("GET", path)).status == 200

        run_virtually(main())


class TestRequests:
    """HTTP/1.1 itself (RFC 9112)."""

    def test_a_limit_beyond_all_reason_is_no_error_of_ours(self) -> None:
        async def main() -> None:
            async with administered() as (_, program):
                assert (await program.call("GET", f"/sessions?limit={'9' * 5000}")).status == 400
                assert (await program.call("GET", f"/sessions?limit={'9' * 9}")).status == 200

        run_virtually(main())


class TestStart:
    def test_without_a_port_there_is_none(self) -> None:
        async def main() -> None:
            async with Server(generate, Config(port=0)) as server:
                assert server._admin_listener is None

        run_virtually(main())

    def test_a_token_is_made_where_none_is_given(self) -> None:
        one, other = (Server(generate, Config(port=0)).admin_token for _ in range(2))
        assert one != other
        assert len(one) >= 32
