"""A job is what the clients do and what is counted; each module here holds one as `JOB`."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.meter import Meter

#: Seconds for what a server still does after its last byte of a phase.
SETTLE = 0.05
#: The figure that says how much of the time the server waited for its core, in percent.
WAITED = "waited"


@dataclass(frozen=True)
class Column:
    """One figure of a job: its key in the sample, its title, its format; and whether it is compared as a ratio."""

    key: str
    title: str
    form: str
    compared: bool = False


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
    """`measure(run, path)` drives the clients against `run.url` (below `path`, if the peer has one of its own)."""

    name: str
    about: str
    connections: int
    columns: tuple[Column, ...]
    measure: Callable[[Run, str], Awaitable[dict[str, float]]]


@dataclass(frozen=True)
class Window:
    """What one measured phase took, in seconds: of the clock, of CPU for server and load, in wait of a core."""

    seconds: float
    cpu: float
    load: float
    waited: float

    def figures(self, units: float) -> dict[str, float]:
        """The figures that a job of so many units reports."""
        return {
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
    cpu, waited, load = await run.meter.cpu(), run.meter.waited(), time.process_time()
    seconds = await phase()
    load = time.process_time() - load
    await asyncio.sleep(SETTLE)
    return Window(seconds, await run.meter.cpu() - cpu, load, run.meter.waited() - waited)


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
