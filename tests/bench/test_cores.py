"""Where the processes of a comparison run, and how urgently."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench import cores
from bench.errors import BenchError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says where a process runs")

#: In a process of its own: this one would stay as urgent as it has become.
PROGRAM = """
import os, subprocess, sys
from bench import cores
cores.hurry()
print(subprocess.check_output([sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"], text=True))
"""


def test_pinned_and_then_no_longer() -> None:
    before = os.sched_getaffinity(0)
    with cores.pinned(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be so urgent")
def test_who_hurries_starts_processes_that_do() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=20)
    assert int(told.stdout) == os.SCHED_FIFO


def test_who_may_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(BenchError, match="needs root"):
        cores.hurry()
