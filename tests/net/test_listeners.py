"""Where a server listens, what it says when it cannot, and what it leaves behind."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import re
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import uvloop
import websockets

import wsserver
from tests.net.talking import answer, converse
from tests.peer import Peer, request
from wsserver import Config, ConfigError, Server
from wsserver.net import binding, listeners

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Run = Callable[[Coroutine[Any, Any, None]], None]


def refusal(config: Config, **given: Any) -> str:
    """Why a server cannot be entered, on a loop that has nothing to do with it afterwards."""

    async def main() -> str:
        with pytest.raises(ConfigError) as caught:
            await Server(answer, config, **given).__aenter__()
        return str(caught.value)

    return asyncio.run(main())


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


class TestAddresses:
    def test_several_share_the_port_of_the_first(self, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, Config(host="127.0.0.1, ::1", port=0)) as server:
                port = urlsplit(server.urls[0]).port
                assert port
                assert server.urls == [f"ws://127.0.0.1:{port}/ws/chat", f"ws://[::1]:{port}/ws/chat"]
                for url in server.urls:
                    await converse(url)

        run(main())

    def test_ipv6_leaves_ipv4_to_others(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(host="0.0.0.0,::", port=0)) as server:
                four, six = server.urls
                assert re.fullmatch(r"ws://0\.0\.0\.0:\d+/ws/chat", four)
                assert re.fullmatch(r"ws://\[::\]:\d+/ws/chat", six)
                await converse(four.replace("0.0.0.0", "127.0.0.1"))
                await converse(six.replace("[::]", "[::1]"))
            async with Server(answer, Config(host="::", port=0)) as server:
                with pytest.raises(ConnectionRefusedError):
                    await converse(server.urls[0].replace("[::]", "127.0.0.1"))

        asyncio.run(main())

    def test_each_is_bound_once(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(host="127.0.0.1,localhost,127.0.0.1", port=0)) as server:
                assert [urlsplit(url).hostname for url in server.urls].count("127.0.0.1") == 1
                assert len(set(server.urls)) == len(server.urls)

        asyncio.run(main())

    def test_a_library_over_ipv6(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "wsserver")

        async def main() -> None:
            async with (
                Server(answer, Config(host="::1", port=0)) as server,
                websockets.connect(server.urls[0]) as connection,
            ):
                port = urlsplit(server.urls[0]).port
                assert connection.request is not None
                assert connection.request.headers["Host"] == f"[::1]:{port}"
                assert json.loads(await connection.recv())["event"] == "session"

        asyncio.run(main())
        assert re.search(r"connection closed .* address=::/64 ", caplog.text)

    def test_one_that_is_taken_keeps_the_others_free(self) -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
            port = taken.getsockname()[1]
            assert refusal(Config(host="127.0.0.1,::1", port=port)) == (
                f"cannot listen on ::1 port {port}: Address already in use; choose another --port, or 0 for a free one"
            )
            socket.create_server(("127.0.0.1", port), reuse_port=False).close()

    @pytest.mark.parametrize("host", ["no such host", "127.0.0.1,no such host", "a..b"])
    def test_one_that_is_no_address(self, host: str) -> None:
        said = refusal(Config(host=host, port=0))
        assert said.startswith(f"--host {host.split(',')[-1]} is no address of this machine (")

    def test_one_of_another_machine(self) -> None:
        assert refusal(Config(host="192.0.2.1", port=0)) == (
            "cannot listen on 192.0.2.1 port 0: Cannot assign requested address;"
            " choose a --host that is an address of this machine"
        )

    @pytest.mark.skipif(sys.platform != "linux", reason="reads from /proc which ports are privileged")
    def test_a_privileged_port(self) -> None:
        with ExitStack() as stack:
            if os.geteuid() == 0:
                stack.callback(os.seteuid, 0)
                os.seteuid(65534)
            if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1:
                pytest.skip("no port is privileged here")
            # Nobody may not read the files of the page either.
            assert refusal(Config(port=1, page=False)) == (
                "cannot listen on 127.0.0.1 port 1: Permission denied; choose a --port of 1024 or more"
            )

    @pytest.mark.parametrize("given", [False, True])
    def test_options_of_tcp(self, given: bool, run: Run) -> None:
        async def main() -> None:
            sockets = [socket.create_server(("127.0.0.1", 0))] if given else []
            async with Server(answer, Config(port=0), sockets=sockets) as server, Peer.connect(server.urls[0]):
                [connection] = server.sockets
                accepted = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 2**14
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

        run(main())

    @pytest.mark.parametrize(("largest", "expected"), [(2**16, 2**16), (2**19, 2**19), (100, 2**13)])
    def test_the_kernel_holds_little_more_than_a_message_that_is_read_later(self, largest: int, expected: int) -> None:
        assert self.receive_buffer(max_message_size=largest) == expected

    @pytest.mark.parametrize("largest", [0, 2**20 + 1])
    def test_where_messages_may_be_large_the_kernel_chooses(self, largest: int) -> None:
        with socket.socket() as fresh:
            assert self.receive_buffer(max_message_size=largest) >= fresh.getsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF
            )

    def receive_buffer(self, **settings: Any) -> int:
        """Of an accepted connection, in bytes."""

        async def main() -> int:
            async with Server(answer, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]):
                [connection] = server.sockets
                accepted = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
                size: int = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
                return size

        return uvloop.run(main())


class TestUnixSocket:
    def test_it_serves_and_is_gone_afterwards(
        self, tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caplog.set_level(logging.DEBUG, "wsserver")
        monkeypatch.chdir(tmp_path)

        async def main() -> None:
            async with Server(answer, Config(uds="chat.sock", path="/two")) as server:
                assert server.urls == ["ws+unix:chat.sock:/two"]
                await converse(server.urls[0])
                os.chdir("/")

        run(main())
        assert not (tmp_path / "chat.sock").exists()
        [line] = [line for line in caplog.text.splitlines() if "connection closed" in line]
        assert "address=- " in line

    def test_a_stale_one_is_replaced(self, tmp_path: Path) -> None:
        path = str(tmp_path / "chat.sock")
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(path)
            killed.listen()

        async def main() -> None:
            async with Server(answer, Config(uds=path)) as server:
                await converse(server.urls[0])

        asyncio.run(main())

    @pytest.mark.parametrize("full", [False, True])
    def test_a_live_one_is_left_alone(self, full: bool, tmp_path: Path) -> None:
        path = str(tmp_path / "chat.sock")
        with ExitStack() as stack:
            live = stack.enter_context(socket.socket(socket.AF_UNIX))
            live.bind(path)
            live.listen(0 if full else 8)
            if full:
                stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
            assert refusal(Config(uds=path)) == (
                f"cannot listen on --uds {path}: Address already in use; choose another path"
            )
            if not full:
                stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)

    @pytest.mark.parametrize("link", [False, True])
    def test_a_file_that_is_none_is_left_alone(self, link: bool, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        if link:
            path.symlink_to(tmp_path / "elsewhere")
        else:
            path.write_text("mine")
        assert refusal(Config(uds=str(path))) == (
            f"--uds {path} is a file that is no socket: remove it, or choose another path"
        )
        assert path.is_symlink() if link else path.read_text() == "mine"

    @pytest.mark.parametrize(
        "name, reason", [("nowhere/chat.sock", "No such file or directory"), ("x" * 200, "AF_UNIX path too long")]
    )
    def test_a_path_that_cannot_be(self, name: str, reason: str, tmp_path: Path) -> None:
        path = tmp_path / name
        assert refusal(Config(uds=str(path))) == f"cannot listen on --uds {path}: {reason}; choose another path"

    def test_an_abstract_name(self) -> None:
        assert refusal(Config(uds="\0chat")).startswith("--uds takes the path of a file")

    def test_where_there_are_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(binding, "UNIX", None)
        assert refusal(Config(uds="chat.sock")) == (
            "--uds needs UNIX sockets, which this system does not have: choose --host and --port"
        )

    def test_one_that_took_its_place_stays(self, tmp_path: Path, run: Run) -> None:
        path = tmp_path / "chat.sock"

        async def main() -> None:
            first = await Server(answer, Config(uds=str(path))).__aenter__()
            path.unlink()
            async with Server(answer, Config(uds=str(path))) as second:
                await first.close()
                await converse(second.urls[0])

        run(main())
        assert not path.exists()


class TestGivenSockets:
    def test_tcp_and_unix_that_are_bound(self, tmp_path: Path, run: Run) -> None:
        path = tmp_path / "chat.sock"
        tcp, unix = socket.socket(), socket.socket(socket.AF_UNIX)
        tcp.bind(("127.0.0.1", 0))
        unix.bind(str(path))
        port = tcp.getsockname()[1]

        async def main() -> None:
            # Nothing of these addresses is touched.
            config = Config(host="no such host", uds="/nowhere/chat.sock")
            async with Server(answer, config, sockets=[tcp, unix]) as server:
                assert server.urls == [f"ws://127.0.0.1:{port}/ws/chat", f"ws+unix:{path}:/ws/chat"]
                for url in server.urls:
                    await converse(url)

        run(main())
        assert tcp.fileno() == unix.fileno() == -1
        assert path.is_socket(), "it is for those who made it to remove the file"

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
    def test_an_abstract_name(self) -> None:
        async def main() -> None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind("\0wsserver-test-" + str(os.getpid()))
            async with Server(answer, sockets=[listener]) as server:
                assert server.urls == [f"ws+unix:@wsserver-test-{os.getpid()}:/ws/chat"]

        asyncio.run(main())

    def test_no_stream(self) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            with pytest.raises(ConfigError, match="hand in stream sockets, TCP or UNIX"):
                Server(answer, sockets=[datagrams])

    def test_one_that_cannot_listen(self, run: Run) -> None:
        """Those before it listen no more."""
        one, other = socket.socketpair()
        first = socket.create_server(("127.0.0.1", 0))
        address = first.getsockname()

        async def main() -> None:
            with pytest.raises(ConfigError, match="cannot listen on the socket that was handed in: "):
                await Server(answer, sockets=[first, one]).__aenter__()
            await asyncio.sleep(0)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)

        run(main())
        other.close()


class TestAdopted:
    """Connections that another process has accepted."""

    @pytest.mark.parametrize("proxy", [False, True])
    @pytest.mark.parametrize("unix", [False, True])
    def test_they_are_served_as_if_they_had_come_here(self, unix: bool, proxy: bool, run: Run, tmp_path: Path) -> None:
        tcp, other = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        other.bind(str(tmp_path / "chat.sock"))
        elsewhere = socket.socket(socket.AF_UNIX) if unix else socket.socket()
        elsewhere.bind(str(tmp_path / "elsewhere.sock") if unix else ("127.0.0.1", 0))
        elsewhere.listen()

        async def main() -> None:
            config = Config(proxy_protocol=proxy, forwarded_allow_ips="unix:,127.0.0.1")
            async with Server(answer, config, sockets=[tcp, other]) as server:
                client = socket.socket(elsewhere.family)
                client.connect(elsewhere.getsockname())
                server.adopt(int(unix), elsewhere.accept()[0])
                client.setblocking(False)
                reader, writer = await asyncio.open_connection(sock=client)
                peer = Peer(reader, writer)
                async with asyncio.timeout(10):
                    if proxy:
                        await peer.write(b"PROXY UNKNOWN\r\n")
                    await peer.write(request())
                    await peer.read_head()
                    await peer.event("session")
                [connection] = server.sockets
                accepted = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
                if not unix:
                    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
                writer.transport.abort()

        run(main())
        elsewhere.close()

    @pytest.mark.parametrize("proxy", [False, True])
    def test_one_that_is_gone_already(self, proxy: bool, run: Run) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, proxy_protocol=proxy)) as server:
                with socket.create_server(("127.0.0.1", 0)) as elsewhere:
                    client = socket.create_connection(elsewhere.getsockname())
                    sock = elsewhere.accept()[0]
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                    server.adopt(0, sock)
                await asyncio.sleep(0)
                await server.sockets.emptied()

        run(main())

    def test_by_one_that_listens_no_more(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0)) as server:
                server.stop_listening()
                ours, theirs = socket.socketpair()
                server.adopt(0, theirs)
                assert ours.recv(1) == b""
                ours.close()

        asyncio.run(main())


#: Puts descriptors where systemd puts them, and becomes another program.
SYSTEMD = """
import os, sys
count = int(sys.argv[1])
for number in range(count):
    os.dup2(int(sys.argv[2 + number]), 3 + number)
os.environ.update(LISTEN_FDS=str(count), LISTEN_FDNAMES="a:b", LISTEN_PID=os.environ.get("OTHER") or str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-P", *sys.argv[2 + count:]])
"""

TAKE = """
import json, os
from wsserver import ConfigError
from wsserver.net.listeners import inherited
try:
    sockets = inherited()
    taken = [[sock.fileno(), sock.get_inheritable(), str(sock.getsockname())] for sock in sockets] + inherited()
    for sock in sockets:
        sock.close()
except ConfigError as exc:
    taken = [str(exc)]
print(json.dumps([taken, [name for name in os.environ if name.startswith("LISTEN_")]]))
"""


def handed_over(sockets: list[int], *command: str, **variables: str) -> subprocess.Popen[str]:
    """A process that has these descriptors from systemd."""
    # Out of the way of where they go.
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in sockets]
    try:
        return subprocess.Popen(
            [sys.executable, "-c", SYSTEMD, str(len(sockets)), *map(str, copies), *command],
            pass_fds=copies,
            env={**os.environ, "PYTHONPATH": str(Path(wsserver.__file__).parents[1]), **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        for copy in copies:
            os.close(copy)


def taken(sockets: list[int], **variables: str) -> tuple[list[Any], list[str]]:
    """What `inherited` takes, and which variables it leaves."""
    with handed_over(sockets, "-W", "error", "-c", TAKE, **variables) as process:
        output, _ = process.communicate(timeout=30)
    found, left = json.loads(output)
    return found, left


@pytest.mark.skipif(sys.platform == "win32", reason="Windows hands over no descriptors")
class TestInherited:
    def test_those_for_this_process_are_taken_once(self, tmp_path: Path) -> None:
        path = str(tmp_path / "chat.sock")
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path)
            unix.listen()
            assert taken([tcp.fileno(), unix.fileno()]) == (
                [[3, False, str(tcp.getsockname())], [4, False, path]],
                [],
            )

    def test_those_for_another_process_are_not(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            assert taken([tcp.fileno()], OTHER="1") == ([], [])

    def test_none(self) -> None:
        assert taken([]) == ([], [])

    def test_what_nobody_can_connect_to(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket() as bound, ExitStack() as stack:
            datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            null = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, null)
            bound.bind(("127.0.0.1", 0))
            for wrong in (bound.fileno(), datagrams.fileno(), null):
                [[said], left] = taken([tcp.fileno(), wrong])
                assert said.startswith("descriptor 4 of LISTEN_FDS is no listening stream socket: ")
                assert left == []

    def test_a_count_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "two")
        with pytest.raises(ConfigError, match="LISTEN_FDS takes a whole number, not 'two'"):
            listeners.inherited()
        assert not [name for name in os.environ if name.startswith("LISTEN_")]

    def test_a_server_in_another_program_takes_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")

        async def main() -> None:
            async with Server(answer, Config(port=0)) as server:
                await converse(server.urls[0])

        asyncio.run(main())
        assert os.environ["LISTEN_FDS"] == "1"

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_the_command_serves_them(self, loop: str, tmp_path: Path) -> None:
        (tmp_path / "answers.py").write_text("async def generate(turn):\n    yield f'you said {turn.content}'\n")
        path = str(tmp_path / "chat.sock")
        tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        with tcp, unix:
            unix.bind(path)
            unix.listen()
            port = tcp.getsockname()[1]
            command = ["-m", "wsserver", "serve", "answers:generate", "--port", str(port), "--loop", loop]
            # Its port is taken, by the very socket that it is given.
            process = handed_over([tcp.fileno(), unix.fileno()], *command, PYTHONPATH=f"{tmp_path}:{os.getcwd()}")
        urls = [f"ws://127.0.0.1:{port}/ws/chat", f"ws+unix:{path}:/ws/chat"]
        with process:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in urls] == [f"Listening on {url}\n" for url in urls]
            for url in urls:
                asyncio.run(converse(url))
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0
        assert os.path.exists(path), "systemd goes on listening on it"
