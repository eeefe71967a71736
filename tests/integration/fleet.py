"""A supervisor and its workers, as the command starts them; what they log is what a test waits for."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import wsserver
from tests.peer import Peer, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Answers with its version and the process that it runs in, after as many seconds as it is told.
APP = """
import asyncio, os

async def generate(turn):
    yield "VERSION "
    await asyncio.sleep(turn.content)
    yield str(os.getpid())
"""

SERVES = r"worker (\d+) \(process (\d+)\) serves"


class Fleet:
    """A running supervisor."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self.process = process
        self.directory = directory
        self.urls: list[str] = []
        self.log = ""
        self._grown = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def url(self) -> str:
        return self.urls[0]

    def deploy(self, version: str, source: str = APP) -> None:
        """From now on this is the application."""
        (self.directory / "app.py").write_text(source.replace("VERSION", version))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def said(self, pattern: str, times: int = 1) -> list[re.Match[str]]:
        """Returns once so many places of the log match."""
        async with self._grown, asyncio.timeout(30):
            await self._grown.wait_for(lambda: len(re.findall(pattern, self.log)) >= times or self._reading.done())
        found = list(re.finditer(pattern, self.log))
        assert len(found) >= times, f"{pattern!r} was not said {times} times:\n{self.log}"
        return found

    async def pids(self, started: int) -> dict[int, int]:
        """The process at each place, once so many have served."""
        return {int(found[1]): int(found[2]) for found in await self.said(SERVES, started)}

    async def ended(self) -> int:
        """Its status, once all of its processes have ended: each of them holds the log open."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            await self._reading
            more = (await self.process.stdout.read()).decode()
            assert all(line.startswith("Admin on ") for line in more.splitlines()), more
            return await self.process.wait()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._grown:
                self.log += line.decode()
                self._grown.notify_all()
        async with self._grown:
            self._grown.notify_all()


@asynccontextmanager
async def fleet(directory: Path, *flags: str, urls: int = 1, source: str = APP) -> AsyncIterator[Fleet]:
    """`wsserver serve` with these flags, once it has said so many addresses."""
    (directory / "app.py").write_text(source.replace("VERSION", "one"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "wsserver", "serve", "app:generate", "--port", "0", "--no-page"),
        *(
            "--resume-ttl",
            "0",
            "--max-connections-per-ip",
            "0",
            "--handshake-rate",
            "0",
            "--close-timeout",
            "1",
            *flags,
        ),
        cwd=directory,
        # What is written twice in a second would be taken for the same by its size and time.
        env={
            **os.environ,
            "PYTHONPATH": str(Path(wsserver.__file__).parents[1]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "error",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Fleet(process, directory)
    try:
        assert process.stdout is not None
        for _ in range(urls):
            line = (await process.stdout.readline()).decode()
            assert line.startswith("Listening on "), (line, running.log)
            running.urls.append(line.removeprefix("Listening on ").strip())
        yield running
        if process.returncode is None:
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0, running.log
        assert "Traceback" not in running.log and "ERROR" not in running.log.replace("ERROR as expected", "")
    finally:
        if process.returncode is None:
            process.kill()
        await running.ended()


async def ask(peer: Peer, seconds: float = 0) -> tuple[str, int]:
    """Version and process of an answer."""
    await peer.ask(seconds)
    version, pid = text_of(await peer.turn()).split()
    return version, int(pid)


async def spread(stack: AsyncExitStack, url: str, workers: int, each: int = 1) -> dict[int, list[Peer]]:
    """Connections by the process that serves them, at least so many to each of so many processes."""
    found: dict[int, list[Peer]] = {}
    while len(found) < workers or min(map(len, found.values())) < each:
        peer = await stack.enter_async_context(Peer.connect(url))
        found.setdefault((await ask(peer))[1], []).append(peer)
        assert sum(map(len, found.values())) < 40 * workers * each, found
    return found
