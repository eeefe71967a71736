"""The opening of a connection on real sockets: what is let in, what is refused, and when it is too late."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import PING, PONG, TEXT, Peer, Refused, masked, request
from wsserver import Config, Request, Server, SessionView, Turn, User
from wsserver.guard.address import limit_key
from wsserver.net.admission import Opening
from wsserver.wire.handshake import RequestReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from wsserver import Request, SessionView


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield f"you said {turn.content}"


async def refusal(raw: bytes, **settings: object) -> Refused:
    """How the server refuses these bytes; it must end the connection by itself."""
    config = Config(port=0, **settings)  # type: ignore[arg-type]
    async with Server(answer, config) as server, Peer.socket(server.urls[0]) as peer:
        await peer.write(raw)
        with pytest.raises(Refused) as caught:
            await peer.read_head()
        peer.writer.close()
        await server.sockets.emptied()
        assert not len(server.sessions)
        return caught.value


REFUSALS = {
    "malformed": (b"hello\r\n\r\n", 400),
    "no key": (request().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
    "credentials without the subprotocol": (request("/ws/chat", "Sec-WebSocket-Protocol: bearer.secret"), 400),
    "another path": (request("/elsewhere"), 404),
    "echo that is not mounted": (request("/echo"), 404),
    "another method": (request().replace(b"GET", b"PUT", 1), 405),
    "no upgrade": (b"GET /ws/chat HTTP/1.1\r\nHost: x\r\n\r\n", 426),
    "another version": (request().replace(b"Version: 13", b"Version: 8"), 426),
    "headers too large": (request("/ws/chat", "X: " + "y" * 20_000), 431),
}


@pytest.mark.parametrize(("raw", "status"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_an_http_answer(raw: bytes, status: int) -> None:
    refused = run_virtually(refusal(raw))
    assert refused.status == status
    assert "Connection: close" in refused.head
    assert "secret" not in refused.head + refused.body
    assert refused.body.endswith("\n")


def test_426_says_what_to_upgrade_to() -> None:
    assert "Upgrade: websocket" in run_virtually(refusal(REFUSALS["no upgrade"][0])).head
    assert "Sec-WebSocket-Version: 13" in run_virtually(refusal(REFUSALS["another version"][0])).head


@pytest.mark.parametrize("said", [b"", request()[:-2], b"G"])
def test_who_is_too_slow_gets_408(said: bytes) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with Server(answer, Config(port=0, open_timeout=10)) as server, Peer.socket(server.urls[0]) as peer:
            await peer.write(said)
            with pytest.raises(Refused) as caught:
                await peer.read_head()
            assert caught.value.status == 408
            return loop.time()

    assert run_virtually(main()) == pytest.approx(10, abs=0.6)


def test_who_is_refused_and_stays_is_aborted() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with Server(answer, Config(port=0, close_timeout=5)) as server, Peer.socket(server.urls[0]) as peer:
            await peer.write(request("/nowhere") + b"more that nobody reads")
            await server.sockets.emptied()
            return loop.time()

    assert run_virtually(main()) == pytest.approx(5, abs=0.6)


def test_101_and_session_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bytes:
        async with Server(answer, Config(port=0)) as server, Peer.socket(server.urls[0]) as peer:
            await peer.write(request())
            return await peer.reader.read(2**16)

    first = run_virtually(main())
    assert first.startswith(b"HTTP/1.1 101 ")
    assert b'"event":"session"' in first


def test_the_handshake_may_come_byte_by_byte_and_with_a_message_behind_it() -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0)) as server:
            async with Peer.socket(server.urls[0]) as peer:
                for byte in request():
                    await peer.write(bytes([byte]))
                await peer.read_head()
                await peer.event("session")
            async with Peer.socket(server.urls[0]) as peer:
                await peer.write(request() + masked(TEXT, b'{"content":"early"}'))
                await peer.read_head()
                await peer.event("session")
                assert (await peer.turn())[1]["data"]["value"] == "you said early"

    run_virtually(main())


def test_what_comes_before_the_application_has_answered_is_kept_up_to_a_bound() -> None:
    """The rest waits at the client, and nothing of it is lost."""

    async def main() -> None:
        gate = asyncio.Event()

        async def on_open(session: SessionView, request: Request) -> None:
            await gate.wait()

        async with Server(answer, Config(port=0, ping_interval=0), on_open=on_open) as server:
            async with Peer.socket(server.urls[0]) as peer:
                peer.writer.write(request() + masked(PING, b"p" * 125) * 4000)
                await asyncio.sleep(5)
                [opening] = server.sockets
                assert isinstance(opening, Opening)
                # One read of the socket may go beyond it.
                assert 2**16 < len(opening._early) < 2**16 + 2**17
                gate.set()
                await peer.read_head()
                await peer.event("session")
                for _ in range(4000):
                    assert await peer.frame() == (0x80 | PONG, b"p" * 125)

    run_virtually(main())


def test_the_subprotocol_is_selected_only_where_it_is_offered() -> None:
    async def main() -> tuple[str, str]:
        async with Server(answer, Config(port=0)) as server:
            async with Peer.connect(server.urls[0]) as plain:
                pass
            offer = "Sec-WebSocket-Protocol: bearer.x, wsserver.v1"
            async with Peer.connect(server.urls[0], offer) as offering:
                return plain.head, offering.head

    plain, offering = run_virtually(main())
    assert "Sec-WebSocket-Protocol" not in plain
    assert "Sec-WebSocket-Protocol: wsserver.v1\r\n" in offering


@pytest.mark.parametrize(("wanted", "accepted"), [(True, True), (False, False)])
def test_compression_is_off_unless_asked_for(wanted: bool, accepted: bool) -> None:
    async def main() -> str:
        async with Server(answer, Config(port=0, compression=wanted)) as server:
            async with Peer.connect(server.urls[0], "Sec-WebSocket-Extensions: permessage-deflate") as peer:
                return peer.head

    assert ("permessage-deflate; server_no_context_takeover" in run_virtually(main())) is accepted


def test_a_bug_of_ours_is_answered_with_500(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(self: RequestReader, data: bytes) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(RequestReader, "receive_data", broken)
    assert run_virtually(refusal(request())).status == 500
    assert "a bug" in caplog.text


def test_the_servers_end_ends_openings_at_once() -> None:
    async def main() -> bytes:
        async with Server(answer, Config(port=0)) as server:
            async with Peer.socket(server.urls[0]) as peer:
                await peer.write(b"GET / ")
                await asyncio.sleep(1)
                assert [type(member) for member in server.sockets] == [Opening]
                await server.close()
                return await peer.gone()

    assert run_virtually(main()) == b""


#: A browser's request to a server that trusts nobody, and what stands in it.
EVIL, OWN = "Origin: https://evil.example", "Origin: http://localhost"


def named(host: str, *headers: str) -> bytes:
    return request("/ws/chat", *headers).replace(b"Host: localhost", f"Host: {host}".encode())


async def status(raw: bytes, **settings: Any) -> int:
    """What these bytes are answered."""
    config = Config(**{"port": 0, **settings})
    async with Server(answer, config) as server:
        async with Peer.socket(server.urls[0].replace("0.0.0.0", "127.0.0.1")) as peer:
            await peer.write(raw)
            code = int((await peer.reader.readuntil(b"\r\n")).split()[1])
        await server.sockets.emptied()
        assert [len(seats) for seats in (server.seats.sockets, server.seats.connections, server.seats.addresses)] == [
            0
        ] * 3
        return code


class TestPages:
    @pytest.mark.parametrize(
        ("raw", "settings", "code"),
        [
            (request("/ws/chat", OWN), {}, 101),
            (request("/ws/chat", EVIL), {}, 403),
            (request("/ws/chat", "Origin: null"), {}, 403),
            (request("/ws/chat", OWN, EVIL), {}, 403),
            (request("/echo", EVIL), {"echo": True}, 403),
            (request("/ws/chat", EVIL), {"origin": "https://evil.example"}, 101),
            (request("/ws/chat", "Origin: null"), {"origin": "*"}, 101),
        ],
    )
    def test_only_those_of_its_own_or_of_the_list(self, raw: bytes, settings: dict[str, Any], code: int) -> None:
        assert run_virtually(status(raw, **settings)) == code

    def test_a_page_is_told_by_a_close_code(self) -> None:
        async def main() -> tuple[int, str]:
            async with Server(answer, Config(port=0)) as server, Peer.socket(server.urls[0]) as peer:
                await peer.write(request("/ws/chat", EVIL, "Sec-WebSocket-Protocol: wsserver.v1"))
                await peer.read_head()
                return await peer.closed()

        assert run_virtually(main()) == (4503, "pages of this Origin are not let in: allow them by --origin")

    def test_nobody_is_asked_about_a_foreign_one(self) -> None:
        asked = []

        async def authenticate(request: Request) -> None:
            asked.append(request)

        async def main() -> None:
            async with Server(answer, Config(port=0), authenticate=authenticate) as server:
                with pytest.raises(Refused, match="403"):
                    async with Peer.connect(server.urls[0], EVIL):
                        pass

        run_virtually(main())
        assert asked == []


class TestNames:
    @pytest.mark.parametrize(
        ("host", "settings", "code"),
        [
            ("127.0.0.1:1", {}, 101),
            ("rebound.example", {}, 403),
            ("rebound.example", {"host": "0.0.0.0"}, 101),
            ("chat.example", {"origin": "https://chat.example"}, 101),
            ("chat.example", {"forwarded_allow_ips": "127.0.0.1"}, 101),
            ("chat.example", {"forwarded_allow_ips": "10.0.0.1"}, 403),
        ],
    )
    def test_a_loopback_bind_wants_one_of_this_machine(self, host: str, settings: dict[str, Any], code: int) -> None:
        assert run_virtually(status(named(host), **settings)) == code

    def test_each_address_is_judged_for_itself(self) -> None:
        async def main() -> list[int]:
            answers = []
            async with Server(answer, Config(host="::1,0.0.0.0", port=0)) as server:
                for url in server.urls:
                    async with Peer.socket(url.replace("0.0.0.0", "127.0.0.1")) as peer:
                        await peer.write(named("rebound.example"))
                        answers.append(int((await peer.reader.readuntil(b"\r\n")).split()[1]))
            return answers

        assert run_virtually(main()) == [403, 101]

    def test_garbage_in_what_a_proxy_says_takes_its_trust_away(self) -> None:
        raw = named("chat.example", "X-Forwarded-For: unknown")
        assert run_virtually(status(raw, forwarded_allow_ips="127.0.0.1")) == 403

    def test_by_a_unix_socket_any(self, tmp_path: Path) -> None:
        assert run_virtually(status(named("chat.example"), uds=str(tmp_path / "chat.sock"))) == 101

    def test_health_is_for_everybody(self) -> None:
        assert run_virtually(status(b"GET /healthz HTTP/1.1\r\nHost: rebound.example\r\n\r\n")) == 200


class TestClients:
    """Their addresses, as `on_open` and `authenticate` are told, and as they are counted."""

    @pytest.mark.parametrize(
        ("headers", "allowed", "client", "counted"),
        [
            ((), "", "127.0.0.1", ["127.0.0.1"]),
            (("X-Forwarded-For: 192.0.2.7",), "", "127.0.0.1", ["127.0.0.1"]),
            (("X-Forwarded-For: 192.0.2.7",), "127.0.0.1", "192.0.2.7", []),
            (("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 192.0.2.7:80"), "127.0.0.0/8", "192.0.2.7", []),
            (("X-Forwarded-For: [2001:db8::1]:9",), "*", "2001:db8::1", []),
            (("X-Forwarded-For: nonsense",), "127.0.0.1", "127.0.0.1", []),
        ],
    )
    def test_over_tcp(self, headers: tuple[str, ...], allowed: str, client: str, counted: list[str]) -> None:
        seen: list[str | None] = []

        async def on_open(session: SessionView, request: Request) -> None:
            seen.append(request.client)

        async def main() -> None:
            config = Config(port=0, forwarded_allow_ips=allowed)
            async with Server(answer, config, on_open=on_open) as server:
                async with Peer.connect(server.urls[0], *headers):
                    assert list(server.seats.sockets._held) == counted
                    assert list(server.seats.addresses._held) == [limit_key(client)]
                await server.sockets.emptied()
                assert len(server.seats.addresses) == len(server.seats.sockets) == 0

        run_virtually(main())
        assert seen == [client]

    @pytest.mark.parametrize(("allowed", "client"), [("", None), ("127.0.0.1", None), ("unix:", "192.0.2.7")])
    def test_over_a_unix_socket(self, allowed: str, client: str | None, tmp_path: Path) -> None:
        seen: list[str | None] = []

        async def authenticate(request: Request) -> User:
            seen.append(request.client)
            return User("ada")

        async def main() -> None:
            config = Config(uds=str(tmp_path / "chat.sock"), forwarded_allow_ips=allowed)
            async with Server(answer, config, authenticate=authenticate) as server:
                async with Peer.connect(server.urls[0], "X-Forwarded-For: 192.0.2.7"):
                    assert len(server.seats.addresses) == (client is not None)

        run_virtually(main())
        assert seen == [client]

    def test_a_proxy_has_as_many_sockets_as_its_clients_need(self) -> None:
        async def main() -> list[int]:
            config = Config(port=0, max_connections_per_ip=1, forwarded_allow_ips="127.0.0.1")
            async with Server(answer, config) as server, AsyncExitStack() as stack:
                for number in range(9):
                    await stack.enter_async_context(Peer.connect(server.urls[0], f"X-Forwarded-For: 192.0.2.{number}"))
                refused = []
                for address in ("192.0.2.3", "192.0.2.4"):
                    with pytest.raises(Refused) as caught:
                        async with Peer.connect(server.urls[0], f"X-Forwarded-For: {address}"):
                            pass
                    refused.append(caught.value.status)
                return refused

        assert run_virtually(main()) == [429, 429]
