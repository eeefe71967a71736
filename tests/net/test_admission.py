"""The opening of a connection on real sockets: what is let in, what is refused, and when it is too late."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from tests.peer import TEXT, Peer, Refused, masked, request
from wsserver import Config, Server, Turn
from wsserver.net.admission import Opening
from wsserver.wire.handshake import RequestReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
