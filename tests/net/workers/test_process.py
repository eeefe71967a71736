"""The supervising process: how it begins, what it refuses, and its admin port. Deaths and rolls: tests/integration."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import wsserver
from tests.integration.fleet import APP, ask, fleet, spread
from tests.net.test_listeners import handed_over
from tests.peer import Peer
from wsserver import Config, ConfigError
from wsserver.net.workers.process import supervise

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no workers")


def run(directory: Path, *flags: str, source: str = APP) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    (directory / "app.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-P", "-m", "wsserver", "serve", "app:generate", "--workers", "2", *flags],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(wsserver.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=30,
    )


class TestRefused:
    def test_sessions_that_nobody_could_resume(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "--port", "0")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == (
            "wsserver: --workers 2 needs --redis: a client that comes back may reach another process than that of its"
            " session; or set --resume-ttl 0, so that none comes back\n"
        )

    def test_what_the_first_worker_cannot_import_is_said_once(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "--port", "0", "--resume-ttl", "0", source="import nothing_of_that_name")
        assert (ended.returncode, ended.stdout) == (2, "")
        [line] = ended.stderr.splitlines()
        assert line.startswith("wsserver: 'app:generate' cannot be imported: ModuleNotFoundError")

    def test_a_worker_that_dies_in_its_start(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "--port", "0", "--resume-ttl", "0", source="import os\nos._exit(7)")
        assert (ended.returncode, ended.stdout) == (7, "")
        [line] = ended.stderr.splitlines()
        assert line.endswith("ended with status 7 before it served anybody")

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = run(tmp_path, "--port", str(port), "--resume-ttl", "0")
            assert (ended.returncode, ended.stdout) == (2, "")
            [line] = ended.stderr.splitlines()
            assert line.startswith(f"wsserver: cannot listen on 127.0.0.1 port {port}: ")
            ended = run(tmp_path, "--port", "0", "--admin-port", str(port), "--resume-ttl", "0")
            assert (ended.returncode, ended.stdout) == (2, "")
            [line] = ended.stderr.splitlines()
            assert "choose another --admin-port" in line

    def test_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        with pytest.raises(ConfigError, match="--workers needs a Unix"):
            supervise(Config(workers=2, resume_ttl=0))


class TestSockets:
    def test_several_addresses_and_workers(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with (
                fleet(tmp_path, "--workers", "2", "--host", "127.0.0.1,::1", "--loop", "asyncio", urls=2) as it,
                AsyncExitStack() as stack,
            ):
                pids = set((await it.pids(2)).values())
                for url in it.urls:
                    assert set(await spread(stack, url, 2)) == pids

        asyncio.run(main())

    def test_a_unix_socket_is_shared_and_goes_with_the_supervisor(self, tmp_path: Path) -> None:
        path = tmp_path / "chat.sock"

        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2", "--uds", str(path)) as it, AsyncExitStack() as stack:
                pids = set((await it.pids(2)).values())
                assert it.urls == [f"ws+unix:{path}:/ws/chat"]
                assert path.is_socket()
                peer = await stack.enter_async_context(Peer.connect(it.url))
                _, served_by = await ask(peer)
                # The one that is told to end leaves the file to the others.
                os.kill(served_by, signal.SIGTERM)
                assert len(set((await it.pids(3)).values()) | pids) == 3
                async with Peer.connect(it.url) as peer:
                    await ask(peer)

        asyncio.run(main())
        assert not path.exists()

    def test_those_of_systemd_are_shared(self, tmp_path: Path) -> None:
        (tmp_path / "app.py").write_text(APP)
        command = ["-m", "wsserver", "serve", "app:generate", "--workers", "2", "--resume-ttl", "0", "--no-page"]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with handed_over(
                [listener.fileno()], *command, PYTHONPATH=f"{tmp_path}:{os.getcwd()}", PYTHONWARNINGS="error"
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == f"Listening on ws://127.0.0.1:{port}/ws/chat\n"

                async def main() -> None:
                    async with Peer.connect(f"ws://127.0.0.1:{port}/ws/chat") as peer:
                        _, pid = await ask(peer)
                        assert pid != process.pid

                asyncio.run(main())
                process.terminate()
                process.communicate(timeout=30)
            assert process.returncode == 0
            with socket.create_connection(("127.0.0.1", port)):
                """Whoever opened it goes on listening."""


PROGRAM = """
import asyncio, os
import wsserver

async def generate(turn):
    yield "program "
    yield str(os.getpid())

async def authenticate(request):
    return wsserver.User("ada") if wsserver.bearer_token(request) == "s3cret" else None

if __name__ == "__main__":
    wsserver.run(generate, wsserver.Config(port=0, workers=2, resume_ttl=0), authenticate=authenticate)
"""


def test_a_program_is_started_again_for_each_worker(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(wsserver.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("Listening on ").strip()

        async def main() -> None:
            async with Peer.connect(url, "Authorization: Bearer s3cret") as peer:
                version, pid = await ask(peer)
                assert version == "program" and pid != process.pid

        asyncio.run(main())
        process.terminate()
        output, log = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in log


class Program:
    """Calls the admin port."""

    def __init__(self, http: aiohttp.ClientSession, port: int) -> None:
        self._http = http
        self._port = port

    async def call(self, method: str, path: str, json: Any = None, token: str = "t0ken") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self._port}{path}"
        async with self._http.request(method, url, headers=headers, json=json) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else await response.text()


def test_one_admin_port_speaks_for_all(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    async def main() -> None:
        flags = ("--workers", "2", "--admin-port", str(port), "--admin-token", "t0ken")
        async with fleet(tmp_path, *flags) as it, AsyncExitStack() as stack, aiohttp.ClientSession() as http:
            pids = await it.pids(2)
            program = Program(http, port)
            assert (await program.call("GET", "/sessions", token="wrong"))[0] == 401
            assert await program.call("GET", "/readyz", token="") == (200, "ready\n")
            peers = await spread(stack, it.url, 2)
            status, listed = await program.call("GET", "/sessions")
            assert (status, listed["count"]) == (200, sum(map(len, peers.values())))
            for index, pid in pids.items():
                name = peers[pid][0].session["session_id"]
                assert {"id": name, "worker": index}.items() <= {
                    key: value for found in listed["sessions"] if found["id"] == name for key, value in found.items()
                }.items()
                status, _ = await program.call("POST", f"/sessions/{name}/events", {"event": "news", "data": {}})
                assert status == 201
                await peers[pid][0].event("news")
                assert (await program.call("DELETE", f"/sessions/{name}"))[0] == 204
                assert (await peers[pid][0].closed())[0] == 4506
            _, workers = await program.call("GET", "/workers")
            assert {one["worker"]: one["pid"] for one in workers["workers"]} == pids
            # Whoever runs empty is not ready, and still looked into.
            busy = peers[pids[0]][-1] if len(peers[pids[0]]) > 1 else await _another(stack, it.url, pids[0])
            await busy.ask(1)
            await busy.event("start")
            it.signal(signal.SIGTERM)
            await it.said("shutting down")
            assert await program.call("GET", "/readyz", token="") == (503, "going away\n")
            assert (await program.call("GET", "/healthz", token=""))[0] == 200
            name = busy.session["session_id"]
            assert (await program.call("GET", f"/sessions/{name}"))[1]["active_turn"] is not None
            assert (await program.call("POST", f"/sessions/{name}/stop"))[0] == 200
            assert await it.ended() == 0

    asyncio.run(main())


async def _another(stack: AsyncExitStack, url: str, pid: int) -> Peer:
    while True:
        peer = await stack.enter_async_context(Peer.connect(url))
        if (await ask(peer))[1] == pid:
            return peer
