"""TLS: conversations, handshakes that come to nothing, readers that do not read, and files that cannot be used."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import uvloop
import websockets

from tests.peer import TEXT, Peer, Refused, masked, request, text_of
from wsserver import Config, ConfigError, Server, Turn
from wsserver.client import connect
from wsserver.net.tls import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    Run = Callable[[Coroutine[Any, Any, None]], None]

#: For localhost and 127.0.0.1, with its key.
CERTIFICATE = str(Path(__file__).parents[1] / "client" / "localhost.pem")

#: Much more than all buffers on the way hold.
MANY = 30_000
LONG = "some words of an answer that does not end. " * 4


async def answer(turn: Turn) -> AsyncIterator[str]:
    if turn.content == "long":
        for _ in range(MANY):
            yield LONG
    else:
        yield f"you said {turn.content}"


def trusting(**settings: Any) -> ssl.SSLContext:
    """A client's context."""
    return ssl.create_default_context(cafile=CERTIFICATE, **settings)


def secure(**settings: Any) -> Config:
    return Config(port=0, ssl_certfile=CERTIFICATE, **settings)


def address(server: Server) -> tuple[str, int]:
    parts = urlsplit(server.urls[0])
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


async def still_serves(server: Server) -> None:
    async with Peer.connect(server.urls[0], tls=trusting()) as peer:
        await peer.ask("hello")
        assert text_of(await peer.turn()) == "you said hello"


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


class TestConversation:
    def test_of_a_library(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, secure()) as server:
                assert server.urls[0].startswith("wss://127.0.0.1:")
                async with websockets.connect(server.urls[0], ssl=trusting()) as connection:
                    await connection.send('{"content":"hello"}')
                    events = [json.loads(await connection.recv())]
                    while not events[-1]["data"].get("final"):
                        events.append(json.loads(await connection.recv()))
                    assert text_of(events) == "you said hello"
                    await (await connection.ping())
                assert connection.close_code == 1000
                await server.sockets.emptied()

        run(main())

    def test_of_our_client(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", CERTIFICATE)

        async def main() -> None:
            async with Server(answer, secure(host="localhost")) as server, connect(server.urls[0]) as chat:
                words = [event.data["value"] async for event in chat.ask("hi") if event.name == "token"]
                assert words == ["you said hi"]

        # A host of two names has a certificate for the first address only.
        run(main())

    def test_a_long_answer(self, run: Run) -> None:
        """The gate opens again each time that it has closed."""

        async def main() -> None:
            async with Server(answer, secure()) as server, Peer.connect(server.urls[0], tls=trusting()) as peer:
                await peer.ask("long")
                assert len(text_of(await peer.turn())) == MANY * len(LONG)

        run(main())

    def test_what_is_negotiated(self, run: Run) -> None:
        async def main() -> None:
            client = trusting()
            client.set_alpn_protocols(["h2", "http/1.1"])
            async with Server(answer, secure()) as server, Peer.connect(server.urls[0], tls=client) as peer:
                assert peer.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"

        run(main())
        context = server_context(secure())
        assert context is not None
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2

    def test_ends(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, secure()) as server:
                with pytest.raises(Refused, match="404"):
                    async with Peer.socket(server.urls[0], tls=trusting()) as peer:
                        await peer.write(request("/nowhere"))
                        await peer.read_head()
                async with Peer.connect(server.urls[0], tls=trusting()) as peer:
                    await peer.send({"event": "end"})
                    assert (await peer.closed())[0] == 1000
                    await peer.write(masked(8, b"\x03\xe8"))
                    assert await peer.gone() == b""
                await server.sockets.emptied()
                async with Peer.connect(server.urls[0], tls=trusting()) as peer:
                    closing = asyncio.create_task(server.close())
                    assert (await peer.closed())[0] == 1012
                    await peer.write(masked(8, b"\x03\xf4"))
                    assert await peer.gone() == b""
                    await closing

        run(main())

    def test_on_a_unix_socket(self, run: Run, tmp_path: Path) -> None:
        path = str(tmp_path / "chat.sock")

        async def main() -> None:
            async with Server(answer, secure(uds=path)) as server:
                assert server.urls == [f"wss+unix:{path}:/ws/chat"]
                reader, writer = await asyncio.open_unix_connection(path, ssl=trusting(), server_hostname="localhost")
                writer.write(request())
                assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
                writer.transport.abort()

        run(main())


class Hello:
    """A client's end of TLS without a socket: gives its bytes piece by piece."""

    def __init__(self) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusting().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def step(self, received: bytes = b"") -> tuple[bool, bytes]:
        """Whether the handshake is over for this side, and what is to be sent."""
        self.incoming.write(received)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False, self.outgoing.read()
        return True, self.outgoing.read()

    async def shake(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The last bytes of the handshake, not sent yet."""
        over, data = self.step()
        while not over:
            writer.write(data)
            received = await reader.read(2**16)
            if not received:
                raise ConnectionResetError("the server has given up")
            over, data = self.step(received)
        return data

    def encrypted(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self.outgoing.read()


class TestHandshakes:
    def test_plain_text(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, secure()) as server:
                reader, writer = await asyncio.open_connection(*address(server))
                writer.write(request())
                assert b"HTTP" not in await reader.read()
                writer.close()
                await server.sockets.emptied()
                await still_serves(server)

        run(main())

    @pytest.mark.parametrize("size", [0, 1, 100])
    def test_one_that_is_never_finished(self, size: int, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, secure(open_timeout=0.2)) as server:
                reader, writer = await asyncio.open_connection(*address(server))
                writer.write(Hello().step()[1][:size])
                assert await Peer(reader, writer).gone() == b""
                writer.close()
                await server.sockets.emptied()

        run(main())

    def test_one_that_ends_after_the_server_is_cut(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, secure()) as server:
                reader, writer = await asyncio.open_connection(*address(server))
                finished = await Hello().shake(reader, writer)
            writer.write(finished)
            await asyncio.wait_for(Peer(reader, writer).gone(), 5)
            writer.close()
            await server.sockets.emptied()

        run(main())

    def test_the_first_bytes_come_with_its_end(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, secure()) as server:
                reader, writer = await asyncio.open_connection(*address(server))
                hello = Hello()
                finished = await hello.shake(reader, writer)
                writer.write(finished + hello.encrypted(request()))
                head = b""
                while b"101" not in head:
                    hello.incoming.write(await reader.read(2**16))
                    try:
                        head += hello.tls.read(100)
                    except ssl.SSLWantReadError:
                        continue
                writer.transport.abort()
                await server.sockets.emptied()

        run(main())

    def test_nothing_is_left_of_those_that_die(self, run: Run) -> None:
        """In every state of the handshake, and right behind it; by FIN, by RST, or by silence until the deadline."""
        dice = random.Random(11)

        async def die(server: Server) -> None:
            reader, writer = await asyncio.open_connection(*address(server))
            hello, how = Hello(), dice.choice(["begun", "finished", "asked"])
            if how == "begun":
                data = hello.step()[1]
                writer.write(data[: dice.randrange(len(data))] + dice.choice([b"", b"GET / HTTP/1.1\r\n\r\n"]))
            else:
                data = await hello.shake(reader, writer)
                if how == "asked":
                    data += hello.encrypted(request()) + hello.encrypted(masked(TEXT, b'{"content":"hello"}'))
                writer.write(data[: dice.choice([len(data), dice.randrange(len(data))])])
            end = dice.choice(["fin", "rst", "silence"])
            if end == "silence":
                await Peer(reader, writer).gone()
            elif end == "rst":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

        async def main() -> None:
            times = {"open_timeout": 0.3, "close_timeout": 0.3, "ping_interval": 0.3, "ping_timeout": 0.3}
            config = secure(**times, resume_ttl=0, handshake_rate=0, max_connections_per_ip=0)
            async with Server(answer, config) as server:
                for _ in range(4):
                    await asyncio.gather(*(die(server) for _ in range(30)))
                await still_serves(server)
                await server.sockets.emptied()
                while server.turns.runs:
                    await asyncio.wait([run.task for run in server.turns.runs])
                assert len(server.sweeper) == 0

        run(main())


class TestSlowReaders:
    def test_one_that_reads_nothing_holds_little_and_is_cut(self, run: Run) -> None:
        shown = 0

        async def flood(turn: Turn) -> AsyncIterator[str]:
            nonlocal shown
            while True:
                shown += 1
                yield "token "

        async def main() -> None:
            async with Server(flood, secure(write_timeout=1, close_timeout=0.5)) as server:
                async with Peer.connect(server.urls[0], tls=trusting()) as peer:
                    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await peer.ask("flood")
                    before, quiet = -1, 0
                    while quiet < 200:
                        await asyncio.sleep(0.001)
                        quiet, before = quiet + 1 if shown == before else 0, shown
                    [connection] = server.sockets
                    pump = connection.pump  # type: ignore[attr-defined]
                    assert pump.paused
                    assert 0 < pump._transport.get_write_buffer_size() < 2**17
                    # What stands behind: two chunks of 64 KiB, the soft limit, and the buffers of both kernels.
                    assert shown < 20_000
                    await server.sockets.emptied()

        run(main())


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a client's certificate of it; the parts of ours; a key that is nobody's; a locked one."""
    folder = tmp_path_factory.mktemp("tls")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "36500"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    ca, ca_key = str(folder / "ca.pem"), str(folder / "ca.key")
    openssl("req", "-x509", *new, "-subj", "/CN=authority", *usage, "-keyout", ca_key, "-out", ca)
    signed = ["-CA", ca, "-CAkey", ca_key, "-addext", "basicConstraints=CA:FALSE"]
    client = ["-keyout", str(folder / "client.key"), "-out", str(folder / "client.pem")]
    openssl("req", "-x509", *new, "-subj", "/CN=client", *signed, *client)
    openssl("ec", "-in", ca_key, "-aes256", "-passout", "pass:secret", "-out", str(folder / "locked.key"))
    text = Path(CERTIFICATE).read_text()
    blocks = {"PRIVATE KEY" in block: block for block in text.split("-----BEGIN ")[1:]}
    for name, block in {"own.pem": blocks[False], "own.key": blocks[True]}.items():
        (folder / name).write_text(f"-----BEGIN {block}")
    (folder / "text.txt").write_text("no certificate")
    return folder


class TestFiles:
    def test_the_key_in_a_file_of_its_own(self, files: Path) -> None:
        assert server_context(Config()) is None
        assert server_context(Config(ssl_certfile=str(files / "own.pem"), ssl_keyfile=str(files / "own.key")))

    def test_clients_show_a_certificate(self, files: Path, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, secure(ssl_ca_certs=str(files / "ca.pem"))) as server:
                # In TLS 1.3 a client that shows none learns of it by the first thing that it reads.
                with pytest.raises((OSError, asyncio.IncompleteReadError)):
                    async with Peer.connect(server.urls[0], tls=trusting()):
                        raise AssertionError("it was let in")
                client = trusting()
                client.load_cert_chain(files / "client.pem", files / "client.key")
                async with Peer.connect(server.urls[0], tls=client) as peer:
                    await peer.ask("hello")
                    assert text_of(await peer.turn()) == "you said hello"

        run(main())

    @pytest.mark.parametrize(
        "names, words",
        [
            (["nowhere.pem"], "--ssl-certfile {}/nowhere.pem cannot be read: No such file or directory"),
            ([""], "--ssl-certfile {}/ cannot be read: Is a directory"),
            (["own.pem", "nowhere.key"], "--ssl-keyfile {}/nowhere.key cannot be read: No such file or directory"),
            (["own.pem", "own.key", "nowhere.pem"], "--ssl-ca-certs {}/nowhere.pem cannot be read: No such file"),
            (["own.pem", "own.key", "text.txt"], "--ssl-ca-certs {}/text.txt holds no certificate in PEM form"),
            (["own.pem"], "no TLS with {0}/own.pem and {0}/own.pem: --ssl-certfile must be a PEM file with the"),
            (["text.txt"], "no TLS with {0}/text.txt and {0}/text.txt: --ssl-certfile must be a PEM file with the"),
            (["own.pem", "ca.key"], "the key in {0}/ca.key does not belong to --ssl-certfile {0}/own.pem"),
            (["ca.pem", "locked.key"], "the private key is locked by a password: store it without one"),
        ],
    )
    def test_what_cannot_be_used(self, names: list[str], words: str, files: Path) -> None:
        settings = dict(zip(("ssl_certfile", "ssl_keyfile", "ssl_ca_certs"), names, strict=False))
        paths: Any = {name: f"{files}/{file}" for name, file in settings.items()}

        async def main() -> None:
            with pytest.raises(ConfigError) as caught:
                await Server(answer, Config(port=0, **paths)).__aenter__()
            assert str(caught.value).startswith(words.format(files))

        asyncio.run(main())
