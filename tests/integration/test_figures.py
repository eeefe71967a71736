"""Figures and lines of several processes: one sum that never shrinks, and lines that say whose they are."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.fleet import fleet, spread
from tests.net.admin.program import TOKEN, Program, free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers share one socket, or cannot be")


async def scraped(program: Program) -> dict[str, float]:
    """The samples that have no labels, or one."""
    reply = await program.call("GET", "/metrics")
    assert reply.status == 200
    return {
        " ".join((sample.name.removeprefix("wsserver_"), *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def test_workers_add_up_and_what_the_dead_have_counted_stays(tmp_path: Path) -> None:
    async def main() -> None:
        port = free_port()
        flags = ("--workers", "2", "--admin-port", str(port), "--admin-token", TOKEN, "--log-format", "json")
        async with fleet(tmp_path, *flags) as it, AsyncExitStack() as stack:
            program = Program(port)
            pids = await it.pids(2)
            peers = await spread(stack, it.url, 2)
            turns = sum(map(len, peers.values()))
            before = await scraped(program)
            assert (before["workers"], before["connections open"]) == (2, turns)
            assert (before["tokens_total"], before["turns_total completed"]) == (2 * turns, turns)
            assert before["turn_seconds_count"] == turns
            # What a process that is killed has not written yet is lost.
            await it.said("turn over", turns)
            dead, other = pids.values()
            os.kill(dead, signal.SIGKILL)
            await it.said("serves", 3)
            after = await scraped(program)
            assert (after["workers"], after["worker_restarts_total"]) == (2, 1)
            assert after["connections open"] == len(peers[other])
            for name in ("tokens_total", "turns_total completed", "connections_opened_total", "turn_seconds_count"):
                assert after[name] == before[name]
            figures: dict[str, Any] = (await program.call("GET", "/figures")).body
            assert (figures["tokens"], figures["worker_restarts"]) == (2 * turns, 1)
            assert (await program.call("POST", "/metrics")).status == 405
            assert (await program.call("GET", "/asyncapi.json")).body["asyncapi"] == "3.0.0"
        lines = [json.loads(line) for line in it.log.splitlines()]
        over = [line for line in lines if line["message"] == "turn over"]
        assert len(over) == turns
        assert {line["worker"] for line in over} == {"worker 0", "worker 1"}
        closed = {line["session"] for line in lines if line["message"] == "connection closed"}
        assert closed <= {line["session"] for line in over}
        assert {line["process"] for line in over} == {dead, other}

    asyncio.run(main())


def test_text_names_the_worker_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with fleet(tmp_path, "--workers", "2") as it, AsyncExitStack() as stack:
            await spread(stack, it.url, 2)
            await it.said("turn over", 2)
        assert re.search(r"INFO worker [01] wsserver\.access: turn over session=s_\S+ turn=1 end=completed ", it.log)

    asyncio.run(main())
