"""A server in a process of its own: started, found by the line it prints, ended by its id."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench import cores
from bench.errors import BenchError
from bench.meter import Meter, has_proc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

_ROOT = Path(__file__).resolve().parent.parent
_LISTENING = re.compile(rb"Listening on (ws://\S+)")
#: Seconds to start, and to end before it is killed.
_START, _STOP = 20.0, 3.0


class ServerProcess:
    """`async with ServerProcess(("module", "argument"), core) as server`: `server.url`, `server.meter`.

    `program`: what the command is given to. A server that reports itself must be a module of Python's.
    """

    url: str
    meter: Meter

    def __init__(
        self,
        command: Sequence[str],
        core: int | None,
        environment: Mapping[str, str] | None = None,
        *,
        program: Sequence[str] = (sys.executable, "-m"),
        self_report: bool | None = None,
    ) -> None:
        self._report = not has_proc() if self_report is None else self_report
        self._command = (*program, "bench.reporter", *command) if self._report else (*program, *command)
        self._core = core
        # What somebody's shell says about our server would make it another one.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WSSERVER_")}
        self._environment = {**inherited, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._errors = tempfile.TemporaryFile()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE if self._report else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._errors,
            cwd=_ROOT,
            env=self._environment,
        )
        try:
            if self._core is not None:
                cores.pin(self._process.pid, self._core)
            match = await self._line(_LISTENING, _START)
            self.url = match[1].decode()
            if urlsplit(self.url).hostname not in ("127.0.0.1", "::1", "localhost"):
                raise BenchError(f"{self.url} is not this machine's own")
            self.meter = Meter(self._process.pid, self._usage if self._report else None)
        except BaseException:
            await self._stop()
            self._errors.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        died = self._process.returncode is not None
        await self._stop()
        with self._errors:
            if died and isinstance(error, BenchError):
                raise BenchError(f"{error}; the server had ended:\n{self._last_words()}") from error

    async def _line(self, pattern: re.Pattern[bytes], patience: float) -> re.Match[bytes]:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(patience):
                while line := await self._process.stdout.readline():
                    if match := pattern.match(line):
                        return match
        except TimeoutError:
            pass
        what = " ".join(self._command)
        raise BenchError(f"`{what}` printed no {pattern.pattern!r}:\n{self._last_words()}")

    async def _usage(self) -> tuple[int, int]:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        match = await self._line(re.compile(rb"usage (\d+) (\d+)"), _START)
        return int(match[1]), int(match[2])

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:] or "(nothing on stderr)"

    async def _stop(self) -> None:
        """Ask it to end, then make it."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(_STOP):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        # The end of the pipe comes after the end of the process; wait for it, or its transport is left open.
        if self._process.stdout is not None:
            await self._process.stdout.read()
