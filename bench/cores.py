"""Which core does what, how urgently, and how many files a process may open."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Above what is no matter of real time, below the kernel's own threads.
_PRIORITY = 10


def plan() -> tuple[int, int] | None:
    """The core of the server and that of the load, the farthest apart; None where that cannot be said."""
    if sys.platform != "linux":
        return None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[-1], cores[0]) if len(cores) > 1 else None


def pin(pid: int, core: int) -> None:
    """Keep a process (0: this one) and the threads it will start on one core."""
    if sys.platform == "linux":
        os.sched_setaffinity(pid, {core})


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """This process stays on one core meanwhile."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    pin(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def hurry() -> None:
    """From now on this process, and those it starts, go before all others of the machine that are not as urgent.

    Raises `BenchError` where that is not for us to say.
    """
    if sys.platform != "linux":
        raise BenchError("--realtime needs Linux")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except PermissionError:
        raise BenchError("--realtime needs root, or CAP_SYS_NICE") from None


def allow_files(count: int) -> int:
    """Raise the limit of open files, which servers inherit, to `count` if possible; return what holds now."""
    if sys.platform == "win32":
        return count
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= count:
        return count
    wanted = count if hard == unlimited else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
