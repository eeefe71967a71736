"""Every line of hostile input against a server in its own process: ten good clients are served as in quiet.

Each line is an attack of `attacks.py` with as many connections as it may hold, what must come of it, and what must not.
Good clients are measured before it and under it; memory is the most that the server ever took.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop

from tests.integration.attacks import ATTACKS
from tests.integration.load import (
    CERTIFICATE,
    GOOD_CLIENTS,
    SLOW_TO_OPEN,
    KiB,
    Share,
    allow_files,
    bound,
    percentile,
    serving,
    waits,
)

pytestmark = [
    pytest.mark.timed,
    pytest.mark.skipif(
        sys.platform != "linux", reason="reads memory from /proc, and attacks from many loopback addresses"
    ),
]

#: How long good clients are measured before an attack, and under it, in seconds; and how long in a soak.
_QUIET, _LOADED, _SOAKED = 0.5, 1.5, 60.0

#: So long after all attackers have connected good clients come, in seconds.
_SETTLED = 0.3

#: Other programs of the machine may hold up everybody: so often an attack is made at most, until one is survived.
_TRIES = 3


class Line(NamedTuple):
    """`must` and `may` are the answers that the attackers have to see, or may see; others would be a break-in."""

    attack: str
    connections: int
    must: frozenset[str]
    may: frozenset[str] = frozenset()
    flags: tuple[str, ...] = ()
    program: str | None = None


def answers(text: str) -> frozenset[str]:
    return frozenset(text.split())


LINES = (
    Line("slow_handshakes", 2000, answers("408"), answers("cut"), ("--open-timeout", "1")),
    Line("header_floods", 50, answers("431 400"), answers("404 426 cut")),
    Line("connection_flood", 500, answers("came"), answers("101 429 cut")),
    Line("frames_of_2_to_the_63", 50, answers("1009 1002"), answers("cut")),
    Line("fragments", 50, answers("fragments"), answers("1009 cut")),
    Line("ping_floods", 50, answers("pings bytes"), answers("cut")),
    Line("unread_pongs", 500, answers("pings"), answers("cut")),
    Line("compressed_bombs", 50, answers("1009"), answers("4008 cut"), ("--compression",)),
    Line("nested_json", 200, answers("messages refused begun"), answers("cut")),
    Line("enormous_json", 200, answers("messages refused begun"), answers("cut")),
    Line("invalid_utf8", 50, answers("1007"), answers("cut")),
    Line("smuggling", 50, answers("400 405 426"), answers("403 404 cut")),
    Line("early_data", 200, answers("101"), answers("503 cut"), ("--open-timeout", "60"), SLOW_TO_OPEN),
    Line("half_open", 500, answers("cut"), flags=("--ping-interval", "0.5", "--ping-timeout", "0.25")),
    Line("endless_tls", 1000, answers("answered cut"), flags=("--ssl-certfile", CERTIFICATE, "--open-timeout", "1")),
    Line("nonsense", 50, answers("400 403 404"), answers("200 426 cut")),
    Line("log_injection", 50, answers("400 404"), answers("101 403 426 cut"), ("--log-level", "debug")),
)


class Outcome(NamedTuple):
    quiet: float
    loaded: float
    peak: int
    allowed: int
    seen: dict[str, int]


async def attacked(line: Line, directory: Path, seconds: float) -> Outcome:
    async with serving(directory, *line.flags, program=line.program) as server:
        quiet = percentile(await waits(server, _QUIET))
        attacker = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", "-m", "tests.integration.attacks", line.attack, server.url, str(line.connections)),
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert attacker.stdin is not None and attacker.stdout is not None
        try:
            assert await attacker.stdout.readline() == b"begun\n"
            # Who connects in the same instant as a thousand others stands in line behind them; then it goes on.
            await asyncio.sleep(_SETTLED)
            share = Share(server.pid)
            # What other programs of this machine keep the server from is not the attack's doing.
            loaded = percentile(await waits(server, seconds)) / share.slowdown()
            attacker.stdin.close()
            seen = json.loads(await attacker.stdout.readline())
        finally:
            if attacker.returncode is None:
                attacker.kill()
            await attacker.wait()
        return Outcome(quiet, loaded, server.peak(), server.allowed(line.connections + GOOD_CLIENTS), seen)


def survived(line: Line, directory: Path, seconds: float) -> None:
    allow_files()
    for attempt in range(_TRIES):
        (directory / str(attempt)).mkdir()
        outcome = uvloop.run(attacked(line, directory / str(attempt), seconds))
        seen = {name for name, times in outcome.seen.items() if times}
        assert line.must <= seen <= line.must | line.may, outcome.seen
        assert outcome.peak <= outcome.allowed, f"{outcome.peak // KiB} KiB, allowed {outcome.allowed // KiB} KiB"
        if outcome.loaded <= bound(outcome.quiet):
            return
    raise AssertionError(f"p99 {outcome.loaded * 1e3:.1f} ms, in quiet {outcome.quiet * 1e3:.1f} ms")


def test_every_attack_has_its_line() -> None:
    assert [line.attack for line in LINES] == list(ATTACKS)


@pytest.mark.parametrize("line", LINES, ids=[line.attack for line in LINES])
def test_good_clients_are_served_under(line: Line, tmp_path: Path) -> None:
    survived(line, tmp_path, _LOADED)


@pytest.mark.soak
@pytest.mark.parametrize("line", LINES, ids=[line.attack for line in LINES])
def test_good_clients_are_served_for_long_under(line: Line, tmp_path: Path) -> None:
    survived(line, tmp_path, _SOAKED)
