"""What comes before the protocol: preambles of proxies, and handshakes of TLS that never end."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.peer import Peer, request, text_of
from wsserver import Config, Server, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from wsserver import Request, SessionView

    Run = Callable[[Coroutine[Any, Any, None]], None]

CERTIFICATE = str(Path(__file__).parents[1] / "client" / "localhost.pem")

SOURCE = "192.0.2.7"
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2 = SIGNATURE + b"\x21\x11\x00\x13" + bytes([192, 0, 2, 7, 10, 0, 0, 1, 1, 1, 2, 2]) + b"\x01\x00\x04http"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
UNKNOWN = b"PROXY UNKNOWN\r\n"

#: The first bytes of a ClientHello.
HELLO = b"\x16\x03\x01\x02\x00\x01"


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield f"you said {turn.content}"


async def converse(peer: Peer) -> None:
    await peer.write(request())
    await peer.read_head()
    await peer.event("session")
    await peer.ask("hello")
    assert text_of(await peer.turn()) == "you said hello"


async def preceded(server: Server, preamble: bytes) -> Peer:
    """A connection that has begun with these bytes; with TLS behind them where the server speaks it."""
    parts = urlsplit(server.urls[0])
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(preamble)
    if parts.scheme == "wss":
        await writer.start_tls(ssl.create_default_context(cafile=CERTIFICATE), server_hostname="localhost")
    return Peer(reader, writer)


async def until(condition: Callable[[], bool]) -> None:
    """Returns once the server, which tells nobody of it, has come so far."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.001)


def all_given_back(server: Server) -> bool:
    return [len(seats) for seats in vars(server.seats).values()][:4] == [0] * 4


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test that must end, reports nothing to the loop's handler, and leaves no task."""

    async def bounded(test: Coroutine[Any, Any, None]) -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with asyncio.timeout(60):
            await test
        assert errors == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    return lambda test: request.param(bounded(test))


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"ssl_certfile": CERTIFICATE} if request.param else {}


class TestPreamble:
    @pytest.mark.parametrize(
        ("preamble", "client"),
        [(V1, SOURCE), (V2, SOURCE), (LOCAL, "127.0.0.1"), (UNKNOWN, "127.0.0.1")],
        ids=["v1", "v2", "local", "unknown"],
    )
    def test_says_who_the_client_is(self, preamble: bytes, client: str, tls: dict[str, Any], run: Run) -> None:
        seen: list[str | None] = []

        async def on_open(session: SessionView, request: Request) -> None:
            seen.append(request.client)

        async def main() -> None:
            config = Config(port=0, proxy_protocol=True, **tls)
            async with Server(answer, config, on_open=on_open) as server:
                peer = await preceded(server, preamble)
                await converse(peer)
                assert seen == [client]
                assert (server.seats.sockets[client], server.seats.addresses[client]) == (1, 1)
                peer.writer.transport.abort()
                await server.sockets.emptied()
                assert all_given_back(server)
                assert len(server.sweeper) == 1  # the session waits for its client

        run(main())

    @pytest.mark.parametrize("preamble", [V1, V2], ids=["v1", "v2"])
    def test_it_may_come_byte_by_byte_or_with_all_the_rest(self, preamble: bytes, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, proxy_protocol=True)) as server:
                async with Peer.socket(server.urls[0]) as peer:
                    for byte in preamble:
                        await peer.write(bytes([byte]))
                        await asyncio.sleep(0.001)
                    await converse(peer)
                async with Peer.socket(server.urls[0]) as peer:
                    await peer.write(preamble + request())
                    await peer.read_head()
                    await peer.event("session")

        run(main())

    def test_over_a_unix_socket(self, tmp_path: Path, run: Run) -> None:
        seen: list[str | None] = []

        async def on_open(session: SessionView, request: Request) -> None:
            seen.append(request.client)

        async def main() -> None:
            config = Config(uds=str(tmp_path / "chat.sock"), proxy_protocol=True, forwarded_allow_ips="unix:")
            async with Server(answer, config, on_open=on_open) as server:
                for preamble in (V2, LOCAL):
                    async with Peer.socket(server.urls[0]) as peer:
                        await peer.write(preamble)
                        await converse(peer)
                await server.sockets.emptied()
                assert all_given_back(server)

        run(main())
        assert seen == [SOURCE, None]

    def test_the_proxy_may_pass_on_any_host(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, proxy_protocol=True)) as server:
                async with Peer.socket(server.urls[0]) as peer:
                    await peer.write(V2 + request().replace(b"Host: localhost", b"Host: chat.example"))
                    await peer.read_head()

        run(main())

    @pytest.mark.parametrize(
        "data",
        [
            request(),
            HELLO,
            b"PROXY TCP4 nonsense\r\n" + request(),
            V2[:12] + b"\x11" + V2[13:] + request(),
            V1[:20],
            b"",
        ],
    )
    def test_a_bad_one_is_dropped_without_an_answer(self, data: bytes, tls: dict[str, Any], run: Run) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, proxy_protocol=True, **tls)) as server:
                async with Peer.socket(server.urls[0].replace("wss:", "ws:")) as peer:
                    await peer.write(data)
                    peer.writer.write_eof()
                    assert await peer.gone() == b""
                await server.sockets.emptied()
                assert all_given_back(server)
                assert len(server.sweeper) == 0

        run(main())

    def test_one_that_is_never_finished_is_cut(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, proxy_protocol=True, open_timeout=0.2)) as server:
                async with Peer.socket(server.urls[0]) as peer:
                    await peer.write(V1[:20])
                    assert await peer.gone() == b""
                await server.sockets.emptied()

        run(main())

    @pytest.mark.parametrize(("allowed", "served"), [("", True), ("127.0.0.1", True), ("*", True), ("10.0.0.1", False)])
    def test_only_trusted_peers_may_send_one(self, allowed: str, served: bool, run: Run) -> None:
        async def main() -> None:
            config = Config(port=0, proxy_protocol=True, forwarded_allow_ips=allowed)
            async with Server(answer, config) as server, Peer.socket(server.urls[0]) as peer:
                if served:
                    await peer.write(V2)
                    await converse(peer)
                else:
                    peer.writer.write(V2 + request())
                    assert await peer.gone() == b""
                    assert len(server.sockets) == 0

        run(main())

    def test_sockets_are_counted_by_client_address(self, run: Run) -> None:
        async def main() -> None:
            config = Config(port=0, proxy_protocol=True, max_connections_per_ip=1)
            async with Server(answer, config) as server:
                with ExitStack() as stack:
                    peers = [await preceded(server, V2) for _ in range(3)]
                    for peer in peers:
                        stack.callback(peer.writer.transport.abort)
                    # Those of one address beyond twice its connections are cut.
                    ends = [asyncio.create_task(peer.reader.read()) for peer in peers]
                    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    assert len(done) == 1
                    assert server.seats.sockets[SOURCE] == 2
                    other = await preceded(server, V2.replace(bytes([192, 0, 2, 7]), bytes([192, 0, 2, 8])))
                    stack.callback(other.writer.transport.abort)
                    await converse(other)
                    for end in ends:
                        end.cancel()
                    await asyncio.wait(ends)

        run(main())


class TestHandshakesOfTLS:
    def test_a_flood_leaves_the_loop_to_others(self, run: Run) -> None:
        """However many wait to be accepted, few are in each turn of the loop."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            async with Server(answer, Config(port=0, ssl_certfile=CERTIFICATE)) as server:
                with ExitStack() as stack:
                    parts = urlsplit(server.urls[0])
                    for _ in range(50):
                        stack.enter_context(socket.create_connection((parts.hostname, parts.port)))
                    counts, all_there = [0], loop.create_future()

                    def look() -> None:
                        counts.append(len(server.sockets))
                        if counts[-1] < 50:
                            loop.call_soon(look)
                        else:
                            all_there.set_result(None)

                    look()
                    await all_there
                    assert max(after - before for before, after in zip(counts, counts[1:], strict=False)) <= 2
                await server.sockets.emptied()

        run(main())

    def test_two_thousand_of_one_address_are_bounded(self, run: Run) -> None:
        """And others are served meanwhile."""

        async def main() -> None:
            config = Config(port=0, ssl_certfile=CERTIFICATE, open_timeout=0)
            async with Server(answer, config) as server:
                with ExitStack() as stack:
                    parts = urlsplit(server.urls[0])
                    for number in range(2000):
                        sock = stack.enter_context(socket.socket())
                        sock.setblocking(False)
                        await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
                        if number < 200:
                            sock.send(HELLO)
                        assert len(server.sockets) <= 2 * 64
                    context = ssl.create_default_context(cafile=CERTIFICATE)
                    reader, writer = await asyncio.open_connection(
                        parts.hostname, parts.port, ssl=context, local_addr=("127.0.0.2", 0)
                    )
                    await converse(Peer(reader, writer))
                    writer.transport.abort()
                    # Whoever came before the good client has been accepted by now.
                    assert server.seats.sockets["127.0.0.1"] == 2 * 64
                    await server.close()
                    assert all_given_back(server)

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        try:
            run(main())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    @pytest.mark.parametrize("said", [b"", HELLO])
    def test_the_servers_end_ends_them(self, said: bytes, run: Run) -> None:
        async def main() -> None:
            server = Server(answer, Config(port=0, ssl_certfile=CERTIFICATE, open_timeout=0))
            async with server, Peer.socket(server.urls[0].replace("wss:", "ws:")) as peer:
                await peer.write(said)
                await until(lambda: len(server.sockets) > 0)
                async with asyncio.timeout(2):
                    await server.close()
                    assert await peer.gone() == b""
                assert all_given_back(server)
                assert len(server.sweeper) == 0

        run(main())

    def test_one_that_fails_gives_its_seat_back(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, ssl_certfile=CERTIFICATE)) as server:
                for data in (request(), HELLO, b""):
                    async with Peer.socket(server.urls[0].replace("wss:", "ws:")) as peer:
                        await peer.write(data)
                        peer.writer.write_eof()
                        assert b"HTTP" not in await peer.gone()
                    await server.sockets.emptied()
                    assert all_given_back(server)
                assert len(server.sweeper) == 0

        run(main())


def test_without_descriptors_it_waits_for_some(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> None:
        async with Server(answer, Config(port=0, proxy_protocol=True)) as server:
            async with Peer.socket(server.urls[0]) as first:
                await first.write(V2)
                await converse(first)
                parts = urlsplit(server.urls[0])
                sock = socket.create_connection((parts.hostname, parts.port))
                lowest = os.dup(0)
                os.close(lowest)
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
                try:
                    await until(lambda: "nobody can be accepted" in caplog.text)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                reader, writer = await asyncio.open_connection(sock=sock)
                writer.write(V2)
                await converse(Peer(reader, writer))
                writer.transport.abort()

    run(main())


def test_what_comes_to_nothing_is_told_to_who_looks_for_it(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wsserver")

    async def main() -> None:
        async with Server(answer, Config(port=0, proxy_protocol=True)) as server, Peer.socket(server.urls[0]) as peer:
            await peer.write(b"GET /secret HTTP/1.1")
            assert await peer.gone() == b""

    run(main())
    assert "a connection from 127.0.0.1 came to nothing: no preamble of the PROXY protocol" in caplog.text
    assert "secret" not in caplog.text


def test_whom_it_has_accepted_when_it_stops_is_served() -> None:
    """The others that listen on the same socket could not: it has left the queue."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Server(answer, Config(port=0, proxy_protocol=True)) as server:
            parts = urlsplit(server.urls[0])
            await asyncio.sleep(0)
            with socket.create_connection((parts.hostname, parts.port)) as sock:
                # A timer that is due comes behind what is readable in the same turn of the loop.
                loop.call_at(loop.time(), server.stop_listening)
                reader, writer = await asyncio.open_connection(sock=sock)
                writer.write(V2)
                async with asyncio.timeout(10):
                    await converse(Peer(reader, writer))
                writer.transport.abort()

    asyncio.run(main())


def test_on_a_loop_that_cannot_watch_sockets(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """As that of Windows."""

    def add_reader(self: object, *arguments: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", add_reader)

    async def main() -> None:
        async with Server(answer, Config(port=0, proxy_protocol=True)) as server:
            for _ in range(2):
                async with Peer.socket(server.urls[0]) as peer:
                    await peer.write(V2)
                    await converse(peer)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", urlsplit(server.urls[0]).port)

    asyncio.run(main())


def test_what_is_cut_is_counted(run: Run) -> None:
    async def main() -> None:
        config = Config(port=0, proxy_protocol=True, max_connections_per_ip=1)
        async with Server(answer, config) as server:
            url = urlsplit(server.urls[0])

            async def cut(first: bytes) -> None:
                async with Peer.socket(f"http://{url.netloc}") as peer:
                    await peer.write(first)
                    assert await peer.gone() == b""

            await cut(b"GET / HTTP/1.1\r\n\r\n")
            async with AsyncExitStack() as stack:
                for _ in range(2):
                    peer = await stack.enter_async_context(Peer.socket(f"http://{url.netloc}"))
                    await peer.write(V1 + b"GET")
                await until(lambda: server.seats.sockets[SOURCE] == 2)
                await cut(V1)
            assert server.counters.refused == {"none": {"preamble": 1, "sockets": 1}}
        async with Server(answer, replace(config, forwarded_allow_ips="192.0.2.1")) as server:
            async with Peer.socket(server.urls[0].replace("ws:", "http:")) as peer:
                assert await peer.gone() == b""
            assert server.counters.refused == {"none": {"preamble": 1}}

    run(main())
