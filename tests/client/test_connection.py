"""How a conversation comes about, or does not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from wsserver import Config, Server
from wsserver.client import ConnectError, ConnectionLost, connect
from wsserver.client.connection import Connection, Target
from wsserver.errors import ConfigError

from .peer import Peer, scripted
from .talking import App, first_event, run, text_of

CERTIFICATE = Path(__file__).with_name("localhost.pem")


class Nobody:
    """Wants to hear nothing."""

    def received(self, text: str) -> None:
        raise AssertionError(text)

    def dropped(self, loss: ConnectionLost) -> None:
        raise AssertionError(loss)


class TestConnecting:
    def test_the_request_names_its_host_and_carries_headers_and_query(self) -> None:
        seen = []

        async def script(peer: Peer) -> None:
            await peer.open(ping_interval=0.5)
            seen.append(peer.request)
            await peer.end()

        async def test() -> None:
            async with (
                scripted(script) as url,
                connect(f"{url}?a=b c", headers=[("Authorization", "Bearer x")]) as chat,
            ):
                assert chat.session == {"ping_interval": 0.5}
                [request] = seen
                assert request is not None
                assert request.headers["host"] == url.split("/")[2]
                assert request.headers["authorization"] == "Bearer x"
                assert (request.path, request.query) == ("/ws/chat", "a=b%20c")

        run(test())

    def test_a_token_goes_where_servers_look_for_it(self) -> None:
        seen = []

        async def script(peer: Peer) -> None:
            await peer.open()
            assert peer.request is not None
            seen.append(peer.request.headers["authorization"])
            await peer.end()

        async def test() -> None:
            async with scripted(script) as url:
                await first_event(url, token="a.b.c")
                with pytest.raises(ConfigError, match="give one of them"):
                    await first_event(url, token="x", headers=[("authorization", "y")])
            assert seen == ["Bearer a.b.c"]

        run(test())

    @pytest.mark.parametrize("secure", [False, True])
    def test_through_a_unix_socket(self, secure: bool, tmp_path: Path) -> None:
        path = str(tmp_path / "server.sock")
        context, trust = _tls() if secure else (None, None)

        async def script(peer: Peer) -> None:
            await peer.open()
            assert peer.request is not None
            assert (peer.request.headers["host"], peer.request.path) == ("127.0.0.1", "/there")
            await peer.end()

        async def test() -> None:
            url = f"{'wss' if secure else 'ws'}://127.0.0.1/there"
            with pytest.raises(ConnectError, match=f"nothing answers at {url} on {path}"):
                await first_event(url, uds=path, ssl=trust)
            async with scripted(script, context, uds=path):
                await first_event(url, uds=path, ssl=trust)

        run(test())

    def test_over_tls_with_a_context_of_ones_own(self) -> None:
        context, trust = _tls()

        async def script(peer: Peer) -> None:
            await peer.open()
            await peer.end()

        async def test() -> None:
            async with scripted(script, context) as url:
                await first_event(url, ssl=trust)
                with pytest.raises(ConfigError, match="write wss"):
                    await first_event(url.replace("wss", "ws"), ssl=trust)

        run(test())

    def test_over_ipv6(self) -> None:
        if not socket.has_ipv6:
            pytest.skip("no IPv6 here")

        async def test() -> None:
            async with Server(App().generate, Config(port=0, host="::1")) as server, connect(server.urls[0]) as chat:
                assert "[::1]" in chat.url
                assert await text_of(chat, "hi") == "hi"

        run(test())

    def test_over_tls_with_a_certificate_that_is_trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        context, _ = _tls()

        async def script(peer: Peer) -> None:
            await peer.open()
            await peer.end()

        async def test() -> None:
            async with scripted(script, context) as url:
                with pytest.raises(ConnectError, match=r"is not trusted \(self.signed.*SSL_CERT_FILE"):
                    await first_event(url)
                monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
                assert await first_event(url) == {"ping_interval": 0}

        run(test())

    @pytest.mark.parametrize(("host", "what"), [("chat.example", "Hostname mismatch"), ("127.0.0.9", "IP address mis")])
    def test_over_tls_with_a_certificate_for_another_name(self, host: str, what: str, tmp_path: Path) -> None:
        path = str(tmp_path / "chat.sock")
        context, trust = _tls()

        async def script(peer: Peer) -> None:
            await peer.open()

        async def test() -> None:
            async with scripted(script, context, uds=path):
                with pytest.raises(ConnectError, match=f"of wss://{host}/ is for another name: {what}.*'{host}'$"):
                    await first_event(f"wss://{host}/", uds=path, ssl=trust)

        run(test())

    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
        with pytest.raises(ConnectError, match="nothing answers at .* start it with `wsserver serve`") as caught:
            run(first_event(f"ws://127.0.0.1:{port}/"))
        assert (caught.value.status, caught.value.code) == (None, None)

    def test_the_server_refuses_in_http(self) -> None:
        async def test() -> None:
            async with Server(App().generate, Config(port=0)) as server:
                with pytest.raises(ConnectError, match="404 nothing is served at this path: check the path") as caught:
                    await first_event(f"{server.urls[0]}/other")
                assert caught.value.status == 404

        run(test())

    def test_a_refusal_without_advice(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.refuse(400, "so not")
            await peer.end()

        async def test() -> None:
            async with scripted(script) as url:
                with pytest.raises(ConnectError, match="refused with 400 so not$"):
                    await first_event(url)

        run(test())

    def test_the_server_accepts_and_closes_at_once_as_it_does_for_browsers(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.accept()
            peer.protocol.send_close(4501, "no token")
            await peer.flush()
            await peer.end()

        async def test() -> None:
            async with scripted(script) as url:
                with pytest.raises(ConnectError, match="4501 no token: log in with a token: .*--token") as caught:
                    await first_event(url)
                assert (caught.value.status, caught.value.code) == (None, 4501)

        run(test())

    def test_something_else_answers(self) -> None:
        async def script(peer: Peer) -> None:
            peer.writer.write(b"220 mail.example.com ESMTP\r\n")
            await peer.end()

        async def test() -> None:
            async with scripted(script) as url:
                with pytest.raises(ConnectError, match="is no wsserver: the answer is not HTTP"):
                    await first_event(url)
                with pytest.raises(ConnectError):
                    await first_event(url.replace("ws:", "wss:"))

        run(test())

    def test_it_speaks_tls_and_was_not_asked_to(self) -> None:
        async def main() -> None:
            config = Config(port=0, ssl_certfile=str(CERTIFICATE))
            async with Server(App().generate, config) as server:
                with pytest.raises(ConnectError, match="no answer came; where it speaks TLS, write wss$"):
                    await first_event(server.urls[0].replace("wss:", "ws:"))

        run(main())

    def test_it_hangs_up(self) -> None:
        async def script(peer: Peer) -> None:
            peer.writer.close()

        async def test() -> None:
            async with scripted(script) as url:
                with pytest.raises(ConnectError, match="is no wsserver"):
                    await first_event(url)

        run(test())

    def test_it_never_says_anything(self) -> None:
        async def mute(peer: Peer) -> None:
            await peer.reader.read()

        async def polite(peer: Peer) -> None:
            await peer.accept()
            await peer.reader.read()

        async def test() -> None:
            for script in (mute, polite):
                async with scripted(script) as url:
                    with pytest.raises(ConnectError, match="did not answer within 0.05 s"):
                        await first_event(url, open_timeout=0.05)

        run(test())

    def test_who_gives_up_leaves_nothing_behind(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")
            asked.set()
            with suppress(ConnectionError):
                await peer.reader.read()
            ended.set()

        async def test() -> None:
            async with scripted(script) as url:
                connecting = asyncio.create_task(first_event(url, open_timeout=0))
                await asked.wait()
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await connecting
                await ended.wait()

        asked, ended = asyncio.Event(), asyncio.Event()
        run(test())

    def test_what_comes_after_its_time_comes_too_late(self) -> None:
        async def test() -> None:
            connection = Connection(Target.parse("ws://127.0.0.1:1/"), Nobody())
            with pytest.raises(ConnectError):
                await connection.open()
            connection.received("session")
            connection.ended()

        run(test())

    @pytest.mark.parametrize("url", ["ws://127.0.0.1:1/#x", "http://127.0.0.1/"])
    def test_addresses_that_cannot_be(self, url: str) -> None:
        with pytest.raises(ConfigError):
            run(first_event(url))

    def test_headers_that_cannot_be(self) -> None:
        async def test() -> None:
            async with connect("ws://127.0.0.1:1/", headers=[("Upgrade", "h2c")]):
                raise AssertionError("connected")

        with pytest.raises(ConfigError, match="leave it out"):
            run(test())


def _tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What the server shows, and what the client trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context, ssl.create_default_context(cafile=CERTIFICATE)
