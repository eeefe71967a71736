"""How a server runs empty: `drain()` and `close()`, in virtual time."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.clock import run_virtually
from tests.peer import CLOSE, TEXT, Event, Peer, Refused, masked, request
from wsserver import Config, Server, Turn
from wsserver.net.drain import drain_beside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


async def answer(turn: Turn) -> AsyncIterator[str]:
    """Takes as many seconds as it is told."""
    yield "hello"
    await asyncio.sleep(turn.content)


def serve(script: Callable[[Server, str], Coroutine[Any, Any, None]], generate: Any = answer, **settings: Any) -> None:
    async def main() -> None:
        async with Server(generate, Config(port=0, **settings)) as server:
            await script(server, server.urls[0])
        assert not len(server.sessions)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(main())


def now() -> float:
    return asyncio.get_running_loop().time()


async def start(peer: Peer, seconds: float) -> None:
    await peer.ask(seconds)
    await peer.event("start")
    await peer.event("token")


async def leave(peer: Peer) -> tuple[list[Event], int, float]:
    """What a client hears behind `drain`, its close code, and when that came; it answers the Close."""
    events = []
    while (frame := await peer.frame())[0] != 0x80 | CLOSE:
        if frame[0] == 0x80 | TEXT:  # and no ping
            events.append(json.loads(frame[1]))
    await peer.write(masked(CLOSE, frame[1]))
    peer.writer.close()
    return events, int.from_bytes(frame[1][:2], "big"), now()


class TestDrain:
    def test_who_waits_for_nothing_is_sent_away_over_the_spread(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with AsyncExitStack() as stack:
                peers = [await stack.enter_async_context(Peer.connect(url)) for _ in range(60)]
                began = now()
                drained = asyncio.create_task(server.drain())
                ends = await asyncio.gather(*map(leave, peers))
                for events, code, _ in ends:
                    [drain] = events
                    assert drain["event"] == "drain"
                    assert 0 <= drain["data"]["reconnect_in"] <= 60 / 200
                    assert code == 1012
                times = sorted(when - began for _, _, when in ends)
                assert len({round(when, 3) for when in times}) > 20, "not all at once"
                assert times[-1] < 60 / 200 + 0.1
                await drained
                assert now() - began < 1

        serve(script, max_connections_per_ip=100, handshake_rate=0)

    def test_a_turn_finishes_and_its_client_leaves_at_once(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                await start(peer, 7)
                began = now()
                drained = asyncio.create_task(server.drain())
                events, code, when = await leave(peer)
                assert [event["event"] for event in events] == ["drain", "complete"]
                assert events[-1]["data"] == {"status": "completed", "final": True}
                assert code == 1012
                assert when - began == pytest.approx(7, abs=0.1)
                await drained
                assert now() - began < 8

        serve(script)

    def test_a_turn_that_takes_too_long_is_cut_with_server_shutdown(self, caplog: pytest.LogCaptureFixture) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                await start(peer, 100)
                began = now()
                drained = asyncio.create_task(server.drain())
                events, code, when = await leave(peer)
                assert [event["event"] for event in events] == ["drain", "error"]
                assert events[-1]["data"] == {
                    "code": "server_shutdown",
                    "message": "the server is shutting down",
                    "retryable": True,
                    "final": True,
                }
                assert code == 1012
                assert when - began == pytest.approx(20, abs=0.1)
                await drained

        serve(script, drain_timeout=20)
        assert "1 answers are cut" in caplog.text

    def test_without_time_all_is_cut_at_once(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as busy, Peer.connect(url) as idle:
                await start(busy, 100)
                began = now()
                drained = asyncio.create_task(server.drain())
                (events, code, _), (_, other, _) = await asyncio.gather(leave(busy), leave(idle))
                assert (events[-1]["data"]["code"], code, other) == ("server_shutdown", 1012, 1012)
                await drained
                assert now() - began < 1

        serve(script, drain_timeout=0)

    def test_what_waits_still_gets_its_turn_but_nothing_new(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                await start(peer, 3)
                await peer.ask(3, id="waits")
                await peer.event("ack")
                drained = asyncio.create_task(server.drain())
                await peer.event("drain")
                await peer.ask(3, id="new")
                assert (await peer.event("error"))["data"] == {
                    "code": "server_shutdown",
                    "message": "the server is shutting down",
                    "retryable": True,
                    "final": False,
                    "ref": "new",
                }
                events, code, _ = await leave(peer)
                assert [event["event"] for event in events] == ["complete", "start", "token", "complete"]
                assert code == 1012
                await drained

        serve(script)

    def test_an_answer_for_somebody_who_is_away_finishes_too(self) -> None:
        finished: list[float] = []

        async def generate(turn: Turn) -> AsyncIterator[str]:
            yield "hello"
            await asyncio.sleep(7)
            finished.append(now())

        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                await peer.ask("go")
                await peer.event("start")
            await server.sockets.emptied()
            await server.drain()
            assert finished == [pytest.approx(7, abs=0.1)]

        serve(script, generate)

    def test_a_callback_that_was_given_up_does_not_hold_it(self, caplog: pytest.LogCaptureFixture) -> None:
        release = asyncio.Event()

        async def deaf(turn: Turn) -> AsyncIterator[str]:
            yield "hello"
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    """Never heard."""

        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                await start(peer, 0)
                await peer.send({"event": "stop"})
                await peer.turn()
                await asyncio.sleep(10)
                drained = asyncio.create_task(server.drain())
                began = now()
                await leave(peer)
                await asyncio.sleep(1)
                assert not any("answers are cut" in message for message in caplog.messages)
                await drained
                assert now() - began < 6, "close_timeout, not drain_timeout"
                release.set()
                await asyncio.sleep(0.1)

        serve(script, deaf, drain_timeout=100, close_timeout=5, ping_interval=0)

    def test_again_it_waits_for_the_same_end(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                await start(peer, 5)
                first, second = asyncio.create_task(server.drain()), asyncio.create_task(server.drain())
                events, _, _ = await leave(peer)
                assert [event["event"] for event in events] == ["drain", "complete"]
                await first
                await second
                await server.drain()

        serve(script)

    @pytest.mark.parametrize("seconds", [0.001, 3])
    def test_who_leaves_the_block_meanwhile_cuts_it_and_nothing_is_left_behind(self, seconds: float) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                await start(peer, 100)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(server.drain(), seconds)
                waiting = asyncio.create_task(server.drain())
                closing = asyncio.create_task(server.close())
                events, code, _ = await leave(peer)
                assert (events[-1]["data"]["code"], code) == ("server_shutdown", 1012)
                await closing
                await waiting
                assert now() < seconds + 1

        serve(script)


class TestWhileDraining:
    """What a socket is told that was accepted before."""

    def test_readiness_says_503_and_health_200(self) -> None:
        async def script(server: Server, url: str) -> None:
            heads = []
            async with AsyncExitStack() as stack:
                busy = await stack.enter_async_context(Peer.connect(url))
                await start(busy, 7)
                early = [await stack.enter_async_context(Peer.socket(url)) for _ in range(4)]
                await asyncio.sleep(0.1)
                await early[0].write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                heads.append(await early[0].gone())
                drained = asyncio.create_task(server.drain())
                await busy.event("drain")
                for peer, path in zip(early[1:3], (b"/readyz", b"/healthz"), strict=True):
                    await peer.write(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                    heads.append(await peer.gone())
                await early[3].write(request("/ws/chat", "Sec-WebSocket-Protocol: wsserver.v1"))
                await early[3].read_head()
                assert await early[3].closed() == (1013, "the server is shutting down")
                for peer in early:
                    peer.writer.close()
                await leave(busy)
                await drained
            assert [head.split(b" ")[1] for head in heads] == [b"200", b"503", b"200"]
            assert heads[1].endswith(b"\r\n\r\ngoing away\n")

        serve(script)

    def test_a_client_is_refused_with_503_also_after_it_was_asked_for(self) -> None:
        opening = asyncio.Event()

        async def on_open(session: object, request: object) -> None:
            await opening.wait()

        async def main() -> None:
            async with Server(answer, Config(port=0), on_open=on_open) as server:
                async with Peer.socket(server.urls[0]) as before, Peer.socket(server.urls[0]) as asked:
                    await asked.write(request())
                    await asyncio.sleep(1)
                    server.begin_to_drain()
                    opening.set()
                    await before.write(request())
                    for peer in (before, asked):
                        with pytest.raises(Refused) as caught:
                            await peer.read_head()
                        assert caught.value.status == 503
                        assert "Retry-After: 1\r\n" in caught.value.head

        run_virtually(main())

    def test_nobody_new_is_accepted(self) -> None:
        async def script(server: Server, url: str) -> None:
            server.begin_to_drain()
            with pytest.raises(ConnectionRefusedError):
                async with Peer.socket(url):
                    """Nobody listens."""

        serve(script)


class TestHttp:
    """Plain requests on the same port."""

    @pytest.mark.parametrize(
        ("line", "status", "body"),
        [
            ("GET /healthz", 200, "alive\n"),
            ("GET /readyz", 200, "ready\n"),
            ("HEAD /readyz", 200, ""),
            ("POST /readyz", 405, "only GET and HEAD are served here\n"),
            ("GET /nowhere", 404, "nothing is served at this path\n"),
            ("HEAD /nowhere", 404, ""),
        ],
    )
    def test_answer(self, line: str, status: int, body: str) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as peer:
                await peer.write(f"{line}?x=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head, _, rest = (await peer.gone()).decode().partition("\r\n\r\n")
                assert head.startswith(f"HTTP/1.1 {status} ")
                assert "Connection: close" in head
                assert rest == body

        serve(script)


class TestBesideOthers:
    """Others accept on the same sockets: a refusal here would be one of the whole service."""

    def test_who_was_accepted_last_is_let_in_and_sent_on(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as peer:
                await asyncio.sleep(0.1)
                assert len(server.sockets) == 1
                draining = asyncio.create_task(drain_beside(server))
                await asyncio.sleep(0.5)
                assert not server.draining
                await peer.write(request())
                await peer.read_head()
                await peer.event("session")
                [drain] = (await leave(peer))[0]
                assert drain["event"] == "drain"
                with pytest.raises(ConnectionRefusedError):
                    async with Peer.socket(url):
                        """Nobody new."""
                await draining

        serve(script)

    def test_who_says_nothing_is_refused_in_the_end(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as peer, Peer.connect(url) as busy:
                await start(busy, 5)
                draining = asyncio.create_task(drain_beside(server))
                await asyncio.sleep(1.1)
                assert server.draining
                await peer.write(request())
                with pytest.raises(Refused, match="503"):
                    await peer.read_head()
                events, code, _ = await leave(busy)
                assert ([event["event"] for event in events], code) == (["drain", "complete"], 1012)
                await draining

        serve(script)

    def test_what_it_is_in_the_midst_of_accepting_counts(self) -> None:
        async def script(server: Server, url: str) -> None:
            loop = asyncio.get_running_loop()
            parts = urlsplit(url)
            with socket.create_connection((parts.hostname, parts.port)) as sock:
                draining: list[asyncio.Task[None]] = []
                # Behind what is readable in the same turn of the loop, before the loop has shown it.
                loop.call_at(loop.time(), lambda: draining.append(loop.create_task(drain_beside(server))))
                reader, writer = await asyncio.open_connection(sock=sock)
                peer = Peer(reader, writer)
                await peer.write(request())
                await peer.read_head()
                await peer.event("session")
                await leave(peer)
                await draining[0]

        serve(script)
