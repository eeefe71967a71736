"""A server in a process of its own under load: what good clients feel meanwhile, and what memory it takes.

The bound that everything hostile is held to: p99 of ten good clients at most three times what it is in quiet, or 50 ms;
memory at most what the empty server took, 64 KiB a connection, and `--max-memory`.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from tests.peer import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KiB, MiB = 2**10, 2**20

#: Of the servers under load, in bytes.
MAX_MEMORY = 64 * MiB

#: A certificate, with its key, for localhost and 127.0.0.1.
CERTIFICATE = str(Path(__file__).parents[1] / "client" / "localhost.pem")

GOOD_CLIENTS = 10
#: So often each of them asks, in seconds: as often as the default `--message-rate` allows for ever.
_PAUSE = 0.05
_FILES = 8192

#: Served to all: "flood" gets an answer without an end, what is no text one that never comes, all else a short one.
APP = """
import asyncio


async def generate(turn):
    if not isinstance(turn.content, str):
        await asyncio.Event().wait()
    elif turn.content != "flood":
        yield "served"
        return
    while True:
        yield "some words of a flood "
"""

#: A program that looks every new client up for so long, in seconds.
SLOW_TO_OPEN = """
import os

import wsserver
from wsserver.cli import config_from


async def on_open(session, request):
    await asyncio.sleep(float(request.headers.get("x-wait", 0)))


wsserver.run(generate, config_from({}, os.environ), on_open=on_open)
"""

_LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) [a-z_.]+: [^\0-\x1f\x7f-\x9f]*"
)


class Share:
    """What a process got of the machine since this was made."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/schedstat")
        self._before = self._times()

    def _times(self) -> tuple[int, int]:
        """Nanoseconds on a processor, and waiting for one."""
        on, waiting, _ = map(int, self._path.read_text().split())
        return on, waiting

    def slowdown(self) -> float:
        """By how much others made it slower: 1 where it never had to wait for a processor."""
        on, waiting = (now - before for now, before in zip(self._times(), self._before, strict=True))
        return 1 + waiting / max(on, 1)


class Server:
    """A running server: its address, and what it takes."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.port = int(url.split(":")[2].split("/")[0])
        self.tls = ssl.create_default_context(cafile=CERTIFICATE) if url.startswith("wss:") else None
        self.pid = pid
        self.empty = self.memory()

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak(self) -> int:
        """The most resident bytes that it ever had."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * KiB

    def allowed(self, connections: int) -> int:
        """The most it may take with so many connections."""
        return self.empty + connections * 64 * KiB + MAX_MEMORY


@asynccontextmanager
async def serving(directory: Path, *flags: str, program: str | None = None) -> AsyncIterator[Server]:
    """`wsserver serve` of `APP` with these flags, or else of `program` behind `APP`, to which they come as variables.

    Nothing may stand in its log but lines of its own.
    """
    allow_files()
    (directory / "load_app.py").write_text(APP + (program or ""))
    log = directory / "log"
    all_flags = [
        *("--port", "0", "--max-memory", str(MAX_MEMORY), "--drain-timeout", "0", "--close-timeout", "1"),
        *flags,
    ]
    command = ["-m", "wsserver", "serve", "load_app:generate", *all_flags] if program is None else ["load_app.py"]
    pairs = zip(all_flags[::2], all_flags[1::2], strict=True)
    with log.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", *command),
            cwd=directory,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                **(
                    {f"WSSERVER_{name[2:].replace('-', '_').upper()}": value for name, value in pairs}
                    if program
                    else {}
                ),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        found = re.match(r"Listening on (\S+)", line)
        assert found, log.read_text()
        yield Server(found[1], process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await process.stdout.read()
    assert process.returncode == 0
    foreign = [line for line in log.read_text().split("\n")[:-1] if not _LOG_LINE.fullmatch(line)]
    assert foreign == []


async def waits(server: Server, seconds: float) -> list[float]:
    """What ten good clients wait, in seconds: each for its connection, then for answers, for so long."""

    async def converse(number: int) -> list[float]:
        # They do not all ask at the same moment.
        await asyncio.sleep(number * _PAUSE / GOOD_CLIENTS)
        end = perf_counter() + seconds
        waits, began = [], perf_counter()
        async with Peer.connect(server.url, tls=server.tls) as peer:
            while True:
                waits.append(perf_counter() - began)
                if perf_counter() > end:
                    return waits
                await asyncio.sleep(max(0, began + _PAUSE - perf_counter()))
                began = perf_counter()
                await peer.ask("hello")
                await peer.turn()

    return sum(await asyncio.gather(*map(converse, range(GOOD_CLIENTS))), [])


def percentile(waits: list[float]) -> float:
    """The 99th."""
    return sorted(waits)[int(len(waits) * 0.99)]


async def p99(server: Server) -> float:
    """The 99th percentile of what ten good clients wait, in seconds: the best of three times.

    The machine that runs this may be busy by itself; only what the server does to its clients shows each time.
    """
    return min([percentile(await waits(server, 0.5)) for _ in range(3)])


def bound(quiet: float) -> float:
    """What p99 may be under load."""
    return max(3 * quiet, 0.050)


def allow_files() -> None:
    """Lets this process, and those that it starts, hold a few thousand sockets."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
