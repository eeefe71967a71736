"""CPU time and memory of a server process, seen from outside; where that cannot be, the server tells (`reporter`).

- `/proc/PID/task/*/schedstat`: nanoseconds on a core, user and system, of each thread, and in wait of one;
- `/proc/PID/stat`: the same in clock ticks of 10 ms;
- `/proc/PID/smaps_rollup`: resident bytes, and those that are this process's alone;
- `/proc/PID/status`: the most bytes that were ever resident.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True)
class Memory:
    """Bytes: resident, and private to the process (0 where unknown)."""

    rss: int
    uss: int


def has_proc() -> bool:
    """Whether processes can be seen from outside."""
    return Path("/proc/self/stat").exists()


class Meter:
    """Reads one process. `ask` is how a server that cannot be seen is asked: it returns (CPU ns, RSS bytes)."""

    def __init__(self, pid: int, ask: Callable[[], Awaitable[tuple[int, int]]] | None = None) -> None:
        self.pid = pid
        self._proc = Path(f"/proc/{pid}")
        self._ask = ask
        self.source = "the server itself" if ask else "schedstat" if self._schedstat() else "/proc/PID/stat"

    async def cpu(self) -> float:
        """Seconds of CPU time, user and system, that the process has used so far."""
        if self._ask is not None:
            return (await self._ask())[0] / 1e9
        if self.source == "schedstat":
            return self._schedstat() / 1e9
        return self._stat()

    def waited(self) -> float:
        """Seconds that the process was ready to run while others had its core; 0 where unknown."""
        return self._schedstat(1) / 1e9

    async def memory(self) -> Memory:
        """What the process holds now."""
        if self._ask is not None:
            return Memory((await self._ask())[1], 0)
        try:
            text = (self._proc / "smaps_rollup").read_text()
        except FileNotFoundError:
            pages = int((self._proc / "statm").read_text().split()[1])
            return Memory(pages * os.sysconf("SC_PAGE_SIZE"), 0)
        sizes: dict[str, int] = {}
        for line in text.splitlines()[1:]:
            name, size = line.split()[:2]
            sizes[name] = int(size) * 1024
        return Memory(sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"])

    async def peak(self) -> int:
        """The most bytes that the process ever held."""
        if self._ask is not None:
            return (await self._ask())[1]
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def _schedstat(self, field: int = 0) -> int:
        """Nanoseconds of all threads, 0: running, 1: waiting; 0 where the kernel does not count."""
        total = 0
        for file in self._proc.glob("task/*/schedstat"):
            try:
                total += int(file.read_text().split()[field])
            except (OSError, IndexError):
                continue
        return total

    def _stat(self) -> float:
        try:
            fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        except OSError as error:
            raise BenchError(f"the server is gone: {error}") from error
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
