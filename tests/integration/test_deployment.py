"""What stands in `examples/deployment`: real proxies in front of real instances, and commands that the server takes.

The files are taken as they are, but for addresses and paths, which are this test's own. Each replacement must be found.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.integration.fleet import fleet
from tests.peer import request
from tests.store.redis_server import RedisServer, free_port
from wsserver.client import connect
from wsserver.config import Config, variable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.integration.fleet import Fleet
    from wsserver.client import Chat

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as Debian has them")

DEPLOYMENT = Path(__file__).parents[2] / "examples" / "deployment"
CERTIFICATE = Path(__file__).parents[1] / "client" / "localhost.pem"

#: Says its process as often as it is asked, some time apart.
APP = """
import asyncio, os

async def generate(turn):
    for number in range(turn.content):
        yield f"{os.getpid()} "
        await asyncio.sleep(0.02)
"""

LONG = 100


def installed(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") or pytest.skip(f"no {name} here")


def adapted(name: str, replacements: dict[str, str]) -> str:
    """The text of a file with other addresses and paths; what is to be replaced must be there."""
    text = (DEPLOYMENT / name).read_text(encoding="utf-8")
    for old, new in replacements.items():
        assert old in text, f"{name} has no {old!r} any more"
        text = text.replace(old, new)
    return text


def place(instance: Fleet) -> str:
    return urlsplit(instance.url).netloc


def processes(text: str) -> list[int]:
    return [int(pid) for pid in text.split()]


@asynccontextmanager
async def proxied(
    directory: Path, *flags: str, command: Callable[[Path, int, list[Fleet]], list[str]]
) -> AsyncIterator[tuple[str, list[Fleet]]]:
    """Two instances with a Redis behind a proxy: its address, and the instances."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer(directory))
        shared = ("--redis", redis.url, "--resume-ttl", "60", "--forwarded-allow-ips", "127.0.0.1", *flags)
        instances = []
        for name in "ab":
            (directory / name).mkdir()
            instances.append(await stack.enter_async_context(fleet(directory / name, *shared, source=APP)))
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *command(directory, port, instances), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            await listening(process, port)
            yield f"wss://127.0.0.1:{port}/ws/chat", instances
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


async def listening(process: asyncio.subprocess.Process, port: int) -> None:
    """Returns once the proxy takes connections: it gives no sign of it."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert process.returncode is None, (await process.communicate())[0].decode()
                await asyncio.sleep(0.01)
            else:
                writer.transport.abort()
                return


def nginx(directory: Path, port: int, instances: list[Fleet]) -> list[str]:
    conf = directory / "nginx.conf"
    text = adapted(
        "nginx.conf",
        {
            "pid /run/nginx.pid;": f"pid {directory}/nginx.pid;\nerror_log {directory}/error.log;",
            "/var/log/nginx/chat.log": f"{directory}/access.log",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/chat.pem": str(CERTIFICATE),
            "/etc/ssl/chat.key": str(CERTIFICATE),
            "127.0.0.1:8765": place(instances[0]),
            "127.0.0.1:8766": place(instances[1]),
        },
    )
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        text = text.replace("http {", f"http {{\n    {kind}_temp_path {directory}/{kind};", 1)
    conf.write_text(text)
    options = ["-p", str(directory), "-e", str(directory / "error.log"), "-c", str(conf)]
    return [installed("nginx"), *options, "-g", "daemon off;"]


def haproxy(directory: Path, port: int, instances: list[Fleet]) -> list[str]:
    conf = directory / "haproxy.cfg"
    text = adapted(
        "haproxy.cfg",
        {
            "maxconn 20000": "maxconn 100",  # as many files as a test may open
            "/run/haproxy/admin.sock": f"{directory}/admin.sock",
            "bind :443": f"bind 127.0.0.1:{port}",
            "/etc/haproxy/chat.pem": str(CERTIFICATE),
            "127.0.0.1:8765": place(instances[0]),
            "127.0.0.1:8766": place(instances[1]),
        },
    )
    conf.write_text(text)
    return [installed("haproxy"), "-db", "-f", str(conf)]


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


@asynccontextmanager
async def chatting(url: str) -> AsyncIterator[Chat]:
    async with connect(url, ssl=trusting(), reconnect=True) as chat:
        yield chat


async def said(chat: Chat, length: int) -> list[int]:
    """The processes that an answer names."""
    return processes("".join([e.data["value"] async for e in chat.ask(length) if e.name == "token"]))


async def handshake_from(address: str, url: str, *headers: str) -> None:
    """A handshake whose client has this address, to its end."""
    port = urlsplit(url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), local_addr=(address, 0))
    try:
        writer.write(request("/ws/chat?access_token=of-a-query", *headers))
        assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
    finally:
        writer.transport.abort()


async def one_says(text: str, instances: list[Fleet]) -> None:
    """Returns once it stands in the log of one of them."""
    waiting = [asyncio.create_task(it.said(re.escape(text))) for it in instances]
    done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*done)


class TestNginx:
    def test_an_instance_that_drains_completes_its_answer_and_the_session_goes_on_elsewhere(
        self, tmp_path: Path
    ) -> None:
        async def main() -> None:
            async with proxied(tmp_path, command=nginx) as (url, instances), chatting(url) as chat:
                name = chat.session_id
                pids: list[int] = []
                async for event in chat.ask(LONG):
                    if event.name == "token":
                        pids += processes(event.data["value"])
                        if len(pids) == 1:
                            [serving] = [it for it in instances if it.process.pid == pids[0]]
                            serving.signal(signal.SIGTERM)
                assert len(pids) == LONG and set(pids) == {serving.process.pid}
                assert await serving.ended() == 0
                [other] = [it for it in instances if it is not serving]
                assert await said(chat, 1) == [other.process.pid]
                assert chat.session_id == name
                assert len((await chat.history())["items"]) == 4

        asyncio.run(main())

    def test_the_address_of_a_client_arrives_and_its_query_is_not_logged(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with proxied(tmp_path, command=nginx) as (url, instances):
                await handshake_from("127.0.0.9", url, "X-Forwarded-For: 203.0.113.1")
                await one_says("127.0.0.9", instances)
                assert not any("203.0.113.1" in it.log for it in instances)
            logged = (tmp_path / "access.log").read_text()
            assert "GET /ws/chat" in logged and "of-a-query" not in logged

        asyncio.run(main())


class TestHaproxy:
    def test_live_answers_move_to_the_other_instance(self, tmp_path: Path) -> None:
        """The proxy cuts them; their clients resume at the other one, while the first goes on to generate."""

        async def main() -> None:
            flags = ("--proxy-protocol",)
            async with proxied(tmp_path, *flags, command=haproxy) as (url, instances), chatting(url) as chat:
                name = chat.session_id
                pids: list[int] = []
                seqs: list[int] = []
                async for event in chat.ask(LONG):
                    if event.name == "token":
                        assert event.seq is not None
                        seqs += range(event.data.get("from_seq", event.seq), event.seq + 1)
                        pids += processes(event.data["value"])
                        if len(pids) == 1:
                            [index] = [i for i, it in enumerate(instances) if it.process.pid == pids[0]]
                            server = f"chat/{'ab'[index]}"
                            await tell(tmp_path, f"set server {server} state drain; shutdown sessions server {server}")
                assert len(pids) == LONG and set(pids) == {instances[index].process.pid}
                assert seqs == list(range(seqs[0], seqs[0] + LONG))
                assert await said(chat, 1) == [instances[1 - index].process.pid]
                assert chat.session_id == name
                instances[index].signal(signal.SIGTERM)
                assert await instances[index].ended() == 0
                assert await said(chat, 1) == [instances[1 - index].process.pid]

        asyncio.run(main())

    def test_the_address_of_a_client_arrives(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with proxied(tmp_path, "--proxy-protocol", command=haproxy) as (url, instances):
                await handshake_from("127.0.0.9", url)
                await one_says("127.0.0.9", instances)

        asyncio.run(main())


async def tell(directory: Path, command: str) -> None:
    """A command to HAProxy; it says nothing where all is well."""
    reader, writer = await asyncio.open_unix_connection(directory / "admin.sock")
    writer.write(command.encode() + b"\n")
    assert not (await reader.read()).strip()
    writer.close()


def commands() -> dict[str, list[str]]:
    """What each file calls the server with."""
    service = (DEPLOYMENT / "wsserver.service").read_text(encoding="utf-8")
    container = (DEPLOYMENT / "Dockerfile").read_text(encoding="utf-8")
    pod = (DEPLOYMENT / "kubernetes.yaml").read_text(encoding="utf-8")
    [systemd] = re.findall(r"^ExecStart=\S+/wsserver (.*)", service, re.M)
    [[entry], [default]] = (re.findall(rf"^{name} \[(.*)\]", container, re.M) for name in ("ENTRYPOINT", "CMD"))
    [kubernetes] = re.findall(r"args: \[(.*)\]", pod)
    lists = {"systemd": shlex.split(systemd)}
    lists["docker"] = [*_items(entry)[1:], *_items(default)]
    lists["kubernetes"] = [*_items(entry)[1:], *_items(kubernetes)]
    return lists


def _items(text: str) -> list[str]:
    return [item.strip().strip('"') for item in text.split(",")]


@pytest.mark.parametrize("name", ["systemd", "docker", "kubernetes"])
def test_the_server_takes_its_command(name: str) -> None:
    """All of it is read before what is wrong on purpose is found."""
    command = [sys.executable, "-m", "wsserver", *commands()[name], "--port", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "--port takes a whole number" in done.stderr, done.stderr


def test_the_variables_are_settings() -> None:
    known = {variable(name) for name in Config.__dataclass_fields__}
    for path in sorted(DEPLOYMENT.iterdir()):
        found = re.findall(r"\bWSSERVER_[A-Z_]+", path.read_text(encoding="utf-8"))
        assert {name.removesuffix("_FILE") for name in found} <= known, path.name


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """As far as a machine can tell that does not run them."""
    analyze = installed("systemd-analyze")
    for name in ("wsserver.socket", "wsserver.service"):
        text = (DEPLOYMENT / name).read_text(encoding="utf-8").replace("/opt/app/.venv/bin/wsserver", sys.executable)
        (tmp_path / name).write_text(text)
    units = [str(tmp_path / name) for name in ("wsserver.service", "wsserver.socket")]
    done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    mine = [line for line in done.stderr.splitlines() if "wsserver." in line]
    assert not mine, done.stderr
