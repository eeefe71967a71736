"""Instructions of a process, counted by `perf stat` where the machine lets it (many virtual ones do not)."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EVENT = "instructions:u"
#: Seconds that perf may take to start, to end.
_PATIENCE = 10.0


@dataclass
class Count:
    """`value` is set when the counting is over, and stays None where nothing can be counted."""

    value: float | None = None


@cache
def can_count(event: str = EVENT) -> bool:
    """Whether `perf stat` counts this event here."""
    if shutil.which("perf") is None:
        return False
    try:
        probe = subprocess.run(["perf", "stat", "-x,", "-e", event, "true"], capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return False
    return parse(probe.stderr.decode()) is not None


def parse(output: str) -> float | None:
    """The number in what `perf stat -x,` wrote of one event; None where it counted nothing."""
    for line in output.splitlines():
        number, comma, _ = line.partition(",")
        if comma and number.replace(".", "", 1).isdigit():
            return float(number)
    return None


@asynccontextmanager
async def counting(pid: int, event: str = EVENT) -> AsyncIterator[Count]:
    """Count the event in all threads of a process meanwhile."""
    count = Count()
    if not can_count(event):
        yield count
        return
    # With a delay of -1 perf begins with its counters off, and says so when it is told to switch them on: only then it
    # is known to be attached.
    process = await asyncio.create_subprocess_exec(
        *("perf", "stat", "-x,", "-e", event, "-p", str(pid), "--delay", "-1", "--control", "fd:0,1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(b"enable\n")
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await process.stdout.readline()
        except TimeoutError:
            answer = b""
        if not answer.startswith(b"ack"):
            raise BenchError("perf stat did not begin to count")
        yield count
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_PATIENCE):
            _, errors = await process.communicate()
        count.value = parse(errors.decode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
