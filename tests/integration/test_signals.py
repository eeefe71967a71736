"""SIGTERM under load, to a process of its own: 200 sessions, half of them in a turn."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pytest

import wsserver
from tests.peer import CLOSE, TEXT, Peer, masked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")

SESSIONS = 200

APP = """
import asyncio

async def generate(turn):
    yield "token "
    try:
        for _ in range(round(turn.content * 20)):
            await asyncio.sleep(0.05)
            yield "token "
    finally:
        await asyncio.sleep(0)
"""

#: A line of the log at its default level.
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (INFO|WARNING) wsserver\.\S+: \S")


@asynccontextmanager
async def serving(directory: Path, *flags: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    (directory / "app.py").write_text(APP)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-X", "dev", "-m", "wsserver", "serve", "app:generate", "--port", "0"),
        *("--max-connections-per-ip", "0", "--handshake-rate", "0", *flags),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(wsserver.__file__).parents[1])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        yield process, line.removeprefix("Listening on ").strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def start(peer: Peer, seconds: float) -> None:
    await peer.ask(seconds)
    await peer.event("start")
    await peer.event("token")


async def leave(peer: Peer) -> tuple[list[bytes], int]:
    """The final events that a client hears, and its close code; it answers the Close and goes."""
    finals = []
    while (frame := await peer.frame())[0] != 0x80 | CLOSE:
        if frame[0] == 0x80 | TEXT and b'"final":true' in frame[1]:
            finals.append(frame[1])
    await peer.write(masked(CLOSE, frame[1]))
    assert await peer.gone() == b""
    peer.writer.close()
    return finals, int.from_bytes(frame[1][:2], "big")


async def end(process: asyncio.subprocess.Process) -> None:
    """The process ends with 0, having said nothing but its log."""
    output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, output) == (0, b"")
    lines = errors.decode().splitlines()
    assert lines and all(LOG_LINE.match(line) for line in lines), errors.decode()


def test_each_turn_has_one_end_and_each_client_is_sent_away(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, "--drain-timeout", "2") as (process, url), AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(Peer.connect(url)) for _ in range(SESSIONS)]
            # A third of those that are in a turn would not end in time.
            turns = {peer: (0.3, 0.8, 100)[number % 3] for number, peer in enumerate(peers[::2])}
            await asyncio.gather(*(start(peer, seconds) for peer, seconds in turns.items()))
            process.send_signal(signal.SIGTERM)
            began = monotonic()
            ends = dict(zip(peers, await asyncio.gather(*map(leave, peers)), strict=True))
            assert monotonic() - began < 5
            for peer, (finals, code) in ends.items():
                assert code == 1012
                if peer in turns:
                    [final] = finals
                    assert (b'"server_shutdown"' if turns[peer] == 100 else b'"completed"') in final
                else:
                    assert not finals
            await end(process)

    asyncio.run(main())


def test_a_second_one_cuts_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, "--drain-timeout", "60") as (process, url), AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(Peer.connect(url)) for _ in range(20)]
            await asyncio.gather(*(start(peer, 100) for peer in peers))
            process.send_signal(signal.SIGTERM)
            while (await peers[0].event())["event"] != "drain":
                """Tokens."""
            process.send_signal(signal.SIGTERM)
            began = monotonic()
            for finals, code in await asyncio.gather(*map(leave, peers)):
                [final] = finals
                assert (b'"server_shutdown"' in final, code) == (True, 1012)
            await end(process)
            assert monotonic() - began < 4

    asyncio.run(main())
