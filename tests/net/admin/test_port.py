"""The admin port: what a program outside sees and does."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.clock import run_virtually
from tests.peer import Peer, text_of
from wsserver import Config, ConfigError, Server, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "open sesame"


async def generate(turn: Turn) -> AsyncIterator[str]:
    yield "some "
    if turn.content == "wait":
        await asyncio.Event().wait()


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Program:
    """Calls the admin port."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.transport.abort()

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        fields = {"host": f"127.0.0.1:{self.port}", "authorization": f"Bearer {TOKEN}", **headers}
        payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if payload:
            fields["content-length"] = str(len(payload))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        answer = await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode() + payload)
        head, _, rest = answer.partition(b"\r\n\r\n")
        first, *others = head.decode().split("\r\n")
        named = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in others}
        kind = named.get("content-type", "")
        return Reply(int(first.split()[1]), named, json.loads(rest) if kind == "application/json" and rest else rest)


@asynccontextmanager
async def administered(**settings: Any) -> AsyncIterator[tuple[Server, Program]]:
    config = Config(port=0, admin_port=free_port(), admin_token=TOKEN, **settings)
    async with Server(generate, config) as server:
        yield server, Program(config.admin_port)


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
        "authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"]
    )
    def test_nobody_comes_in_without_the_token(self, authorization: str) -> None:
        async def main() -> None:
            async with administered() as (_, program):
                reply = await program.call("GET", "/sessions", authorization=authorization)
                assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
                assert set(reply.body) == {"error"}

        run_virtually(main())

    def test_nobody_is_led_in_by_a_foreign_name(self) -> None:
        async def main() -> None:
            async with administered() as (_, program):
                assert (await program.call("GET", "/sessions", host="rebound.example")).status == 403
                assert (await program.call("GET", "/sessions", host="localhost")).status == 200

        run_virtually(main())

    def test_health_needs_no_token_and_is_told_while_the_server_drains(self) -> None:
        async def main() -> None:
            async with administered(drain_timeout=10) as (server, program), Peer.connect(server.urls[0]) as peer:
                assert (await program.call("GET", "/healthz", authorization="")).status == 200
                assert (await program.call("GET", "/readyz", authorization="")).status == 200
                await peer.ask("wait")
                await peer.event("start")
                await peer.event("token")
                draining = asyncio.create_task(server.drain())
                await peer.event("drain")
                assert (await program.call("GET", "/healthz", authorization="")).status == 200
                assert (await program.call("GET", "/readyz", authorization="")).status == 503
                await draining

        run_virtually(main())

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

    def test_a_body_that_is_waited_for_is_invited(self) -> None:
        async def main() -> None:
            async with administered() as (server, program), Peer.connect(server.urls[0]) as peer:
                reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
                body = b'{"event":"note"}'
                head = (
                    f"POST /sessions/{peer.session['session_id']}/events HTTP/1.1\r\nHost: localhost\r\n"
                    f"Authorization: Bearer {TOKEN}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                writer.write(head.encode())
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
                writer.write(body)
                assert (await reader.read()).startswith(b"HTTP/1.1 201")
                writer.transport.abort()

        run_virtually(main())

    @pytest.mark.parametrize("cut", [1, 20, 70])
    def test_byte_by_byte(self, cut: int) -> None:
        async def main() -> None:
            async with administered() as (_, program):
                reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
                data = f"GET /sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
                for start in range(0, len(data), cut):
                    writer.write(data[start : start + cut])
                    await asyncio.sleep(0.01)
                assert (await reader.read()).startswith(b"HTTP/1.1 200")
                writer.transport.abort()

        run_virtually(main())

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"hello\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000, 413),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n", 400),
        ],
        ids=["no HTTP", "large head", "large body", "no length"],
    )
    def test_what_is_malformed_or_too_large(self, data: bytes, status: int) -> None:
        async def main() -> None:
            async with administered() as (server, program):
                assert (await program.raw(data)).startswith(f"HTTP/1.1 {status} ".encode())
                await server.sockets.emptied()

        run_virtually(main())

    @pytest.mark.parametrize("path", ["/healthz", "/sessions", "/nothing"])
    @pytest.mark.parametrize("method", ["HEAD", "CONNECT"])
    def test_a_method_whose_answer_has_no_body_is_answered_and_leaves_nothing(self, method: str, path: str) -> None:
        async def main() -> None:
            async with administered() as (server, program), asyncio.timeout(60):
                answer = await program.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                head, _, body = answer.partition(b"\r\n\r\n")
                if method == "HEAD":
                    assert head.startswith(b"HTTP/1.1 200" if path == "/healthz" else b"HTTP/1.1 401")
                    assert (b"Content-Length: 0" in head, body) == (False, b"")
                else:
                    assert head.startswith(b"HTTP/1.1 405")
                await server.sockets.emptied()

        run_virtually(main())

    def test_a_limit_beyond_all_reason_is_no_error_of_ours(self) -> None:
        async def main() -> None:
            async with administered() as (_, program):
                assert (await program.call("GET", f"/sessions?limit={'9' * 5000}")).status == 400
                assert (await program.call("GET", f"/sessions?limit={'9' * 9}")).status == 200

        run_virtually(main())

    def test_who_is_too_slow_or_too_many_is_cut(self) -> None:
        async def main() -> None:
            async with administered(open_timeout=5) as (server, program):
                began = server.loop.time()
                answers = await asyncio.gather(*(program.raw(b"GET /sess") for _ in range(140)))
                assert set(answers) == {b""}
                assert server.loop.time() - began == pytest.approx(5, abs=0.6)
                assert (await program.call("GET", "/sessions")).status == 200

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

    def test_a_taken_port_says_what_to_do_and_leaves_nothing_open(self) -> None:
        async def main() -> None:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                server = Server(generate, Config(port=0, admin_port=taken.getsockname()[1]))
                with pytest.raises(
                    ConfigError, match=rf"port \d+: {os.strerror(errno.EADDRINUSE)}; choose another --admin-port"
                ):
                    async with server:
                        pass
                assert asyncio.all_tasks() == {asyncio.current_task()}

        run_virtually(main())
