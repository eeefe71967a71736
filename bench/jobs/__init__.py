"""A job is what the clients do and what is counted; each module here holds one as `JOB`."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench import perf
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.meter import Meter

#: Seconds for what a server still does after its last byte of a phase.
SETTLE = 0.05
#: The figure that says how much of the time the server waited for its core, in percent.
WAITED = "waited"


@dataclass(frozen=True)
class Column:
    """One figure of a job: its key in the sample, its title, its format; and whether it is compared as a ratio.

    A column whose figure a run could not get, such as a count that the machine does not give, is left out.
    """

    key: str
    title: str
    form: str
    compared: bool = False


#: A column of every job: `compare` takes the figure when the job is done.
PEAK = Column("peak", "peak MiB", ".1f", compared=True)


@dataclass(frozen=True)
class Run:
    """One server to be measured once. `turns` 0 means: as many as make `seconds`."""

    url: str
    meter: Meter
    connections: int
    turns: int
    seconds: float

    def address(self, path: str) -> tuple[str, int, str]:
        """Host, port and path; an empty path is the one that the server printed."""
        parts = urlsplit(self.url)
        if parts.hostname is None or parts.port is None:
            raise BenchError(f"no host and port in {self.url}")
        return parts.hostname, parts.port, path or parts.path or "/"


@dataclass(frozen=True)
class Job:
    """`measure(run, path)` drives the clients against `run.url` (below `path`, if the peer has one of its own).

    `work` is what the servers have to do.
    """

    name: str
    work: str
    about: str
    connections: int
    columns: tuple[Column, ...]
    measure: Callable[[Run, str], Awaitable[dict[str, float]]]


@dataclass(frozen=True)
class Window:
    """What one measured phase took, in seconds: of the clock, of CPU for server and load, in wait of a core.

    `instructions` of the server in user mode, where they can be counted.
    """

    seconds: float
    cpu: float
    load: float
    waited: float
    instructions: float | None = None

    def figures(self, units: float) -> dict[str, float]:
        """The figures that a job of so many units reports."""
        counted = {} if self.instructions is None else {"instructions": self.instructions / units}
        return counted | {
            "units": units,
            "seconds": self.seconds,
            "rate": units / self.seconds,
            "cpu": self.cpu / units * 1e6,
            "server": self.cpu / self.seconds * 100,
            "load": self.load / self.seconds * 100,
            WAITED: self.waited / self.seconds * 100,
        }


async def measured(run: Run, phase: Callable[[], Awaitable[float]]) -> Window:
    """Measure a phase, which returns its seconds, from quiet to quiet."""
    await asyncio.sleep(SETTLE)
    async with perf.counting(run.meter.pid) as count:
        cpu, waited, load = await run.meter.cpu(), run.meter.waited(), time.process_time()
        seconds = await phase()
        load = time.process_time() - load
        await asyncio.sleep(SETTLE)
        cpu, waited = await run.meter.cpu() - cpu, run.meter.waited() - waited
    return Window(seconds, cpu, load, waited, count.value)


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds, of at least one."""
    ordered = sorted(seconds)
    return {
        "p50": ordered[len(ordered) // 2] * 1e3,
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e3,
    }


def names() -> list[str]:
    """All jobs there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Job:
    """The job of that name."""
    if name not in names():
        raise BenchError(f"no job {name!r}; there are: {', '.join(names())}")
    job = importlib.import_module(f"{__name__}.{name}").JOB
    assert isinstance(job, Job)
    return job
