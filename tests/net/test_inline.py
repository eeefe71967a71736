"""A coroutine that waits for nothing runs at once; one that waits is a bug of ours."""

from __future__ import annotations

import asyncio

import pytest

from wsserver.net.inline import run_through


def test_it_has_run() -> None:
    done = []

    async def work() -> None:
        done.append(1)

    run_through(work())
    assert done == [1]


def test_one_that_waits_is_closed() -> None:
    closed = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(1)

    with pytest.raises(AssertionError, match="was to wait for nothing"):
        run_through(work())
    assert closed == [1]
