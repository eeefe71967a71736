"""Counting by `perf stat`, where it is there."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from bench import perf

#: Software counts it, so that it is there wherever perf is.
EVENT = "task-clock"


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ("1234567,,instructions:u,1000,100.00,,\n", 1234567.0),
        ("Events disabled\nEvents enabled\n0.52,msec,task-clock,519665,100.00,0.489,CPUs utilized\n", 0.52),
        ("<not supported>,,instructions:u,0,100.00,,\n", None),
        ("<not counted>,,instructions:u,0,0.00,,\n", None),
        ("Error: no permission\n", None),
        ("", None),
    ],
)
def test_parse(output: str, value: float | None) -> None:
    assert perf.parse(output) == value


def test_what_cannot_be_counted_is_none() -> None:
    async def main() -> None:
        async with perf.counting(1, "no-such-event") as count:
            pass
        assert count.value is None

    asyncio.run(main())


@pytest.mark.skipif(not perf.can_count(EVENT), reason="needs perf")
def test_only_what_happens_meanwhile_is_counted() -> None:
    """The process works before, and is still meanwhile; then it works meanwhile too."""
    work = "import sys\nfor line in sys.stdin:\n sum(range(3_000_000)); print(flush=True)"

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", work, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None and process.stdout is not None

        async def let_it_work() -> None:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(b"\n")
            await process.stdout.readline()

        await let_it_work()
        async with perf.counting(process.pid, EVENT) as still:
            pass
        async with perf.counting(process.pid, EVENT) as busy:
            await let_it_work()
        process.stdin.close()
        await process.wait()
        await process.stdout.read()
        assert busy.value is not None and busy.value > 10  # milliseconds
        assert (still.value or 0) < busy.value / 4

    asyncio.run(main())
