"""A process that is a server and nothing else; as a process of its own it is tested in `test_cli_process`."""

from __future__ import annotations

import asyncio
import platform
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wsserver import Config, Turn, run
from wsserver.net.listeners import Listeners
from wsserver.net.process import _share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield "hello"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_ctrl_c_before_it_listens_ends_it_quietly(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows at any time: there the loop has no handler of its own."""

    async def interrupted(self: Listeners, loop: object, factory: object) -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(Listeners, "open", interrupted)
    # Where the tests run in the background of a shell it is ignored, and all that they start ignores it too.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = threading.active_count()
    try:
        run(answer, Config(port=0, loop=loop))  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGINT, inherited)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(5)
    assert threading.active_count() == before, "the watchdog has ended"


#: Faults of a process that makes and drops three large messages, again and again.
_FAULTS = """
import resource
from wsserver.net import process

process._keep_memory_for({largest})
before = 0
for round in range(60):
    if round == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    messages = [b"x" * 2**20 for _ in range(3)]
    del messages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators do as they like")
def test_large_messages_do_not_fetch_their_memory_page_by_page_each_time() -> None:
    def faults(largest: int) -> int:
        program = _FAULTS.format(largest=largest)
        return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)

    assert faults(2**20) * 10 < faults(0)


def test_memory_is_that_of_all_workers_and_the_admin_port_that_of_their_supervisor() -> None:
    config = Config(workers=4, resume_ttl=0, admin_port=9001, max_memory=4000)
    assert _share(config) == replace(config, admin_port=0, max_memory=1000)
    assert _share(replace(config, max_memory=0)).max_memory == 0, "no limit"
    assert _share(replace(config, max_memory=3)).max_memory == 1, "and not none by that"
