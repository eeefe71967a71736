"""A server in a process of its own under load: what good clients feel meanwhile, and what memory it takes.

The bound that everything hostile is held to: p99 of ten good clients at most three times what it is in quiet, or 50 ms;
memory at most what the empty server took, 64 KiB a connection, and `--max-memory`.
"""

from __future__ import annotations

import asyncio
import os
import re
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

GOOD_CLIENTS = 10
_QUESTIONS = 60
_FILES = 8192

#: Served to all: "hello" gets a short answer, "flood" one without an end.
APP = """
async def generate(turn):
    if turn.content != "flood":
        yield "served"
        return
    while True:
        yield "some words of a flood "
"""


class Server:
    """A running server: its address, and what it takes."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.port = int(url.split(":")[2].split("/")[0])
        self._pid = pid
        self.empty = self.memory()

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def allowed(self, connections: int) -> int:
        """The most it may take with so many connections."""
        return self.empty + connections * 64 * KiB + MAX_MEMORY


@asynccontextmanager
async def serving(directory: Path, *flags: str) -> AsyncIterator[Server]:
    """`wsserver serve` of `APP` with these flags; nothing may stand in its log but what is allowed at INFO."""
    _allow_files()
    (directory / "load_app.py").write_text(APP)
    log = directory / "log"
    with log.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", "-m", "wsserver", "serve", "load_app:generate", "--port", "0"),
            *("--max-memory", str(MAX_MEMORY), "--drain-timeout", "0", "--close-timeout", "1", *flags),
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
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
    assert "Traceback" not in log.read_text()


async def p99(server: Server) -> float:
    """The 99th percentile of what ten good clients wait for their answers, in seconds: the best of three times.

    The machine that runs this may be busy by itself; only what the server does to its clients shows each time.
    """
    return min([await _p99(server) for _ in range(3)])


async def _p99(server: Server) -> float:
    async def ask() -> list[float]:
        waits = []
        async with Peer.connect(server.url) as peer:
            for _ in range(_QUESTIONS):
                began = perf_counter()
                await peer.ask("hello")
                await peer.turn()
                waits.append(perf_counter() - began)
        return waits

    waits = sorted(sum(await asyncio.gather(*(ask() for _ in range(GOOD_CLIENTS))), []))
    return waits[int(len(waits) * 0.99)]


def bound(quiet: float) -> float:
    """What p99 may be under load."""
    return max(3 * quiet, 0.050)


def _allow_files() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
