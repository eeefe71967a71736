"""The harness itself, on a round so small that only its counts mean something."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from bench import cli, loops
from bench.client import Crowd
from bench.errors import BenchError
from bench.jobs.stream import StreamClient, check_turn
from bench.process import ServerProcess
from bench.wire import server_frame
from bench.work import TOKEN, TOKENS

if TYPE_CHECKING:
    from pathlib import Path


def test_raw_against_picows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both stream exactly the tokens asked for; the table and the file say so."""
    pytest.importorskip("picows")
    status = cli.main(
        ["compare", "--job", "stream", "--peers", "raw,picows", "--rounds", "2"]
        + ["--connections", "3", "--turns", "2", "--results", str(tmp_path)]
    )
    output, errors = capsys.readouterr()
    assert status == 0, errors

    title, head, *rows = output.splitlines()
    assert title.startswith("stream: ")
    assert "3 connections, 2 rounds" in title
    assert head.split()[:3] == ["peer", "CPU", "µs/token"]
    assert "CPU µs/token ÷ raw" in head
    assert head.rstrip().endswith("peak MiB ÷ raw")
    assert [row.split()[0] for row in rows[:2]] == ["raw", "picows"]

    (path,) = tmp_path.glob("*-stream.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["base"] == "raw"
    for peer in ("raw", "picows"):
        assert [sample["units"] for sample in document["samples"][peer]] == [3 * 2 * TOKENS] * 2
    assert document["ratio"]["raw"]["cpu"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert errors.count("stream 1/2") == 2
    assert "raw" in path.with_suffix(".svg").read_text(encoding="utf-8")


def test_server_that_reports_itself() -> None:
    """Where a process cannot be seen from outside it tells its CPU time and memory."""

    async def main() -> None:
        async with ServerProcess(("bench.peers.raw", "echo"), None, self_report=True) as server:
            assert await server.meter.cpu() > 0
            assert (await server.meter.memory()).rss > 0

    loops.run(main())


def test_server_that_does_not_start() -> None:
    """Its last words are shown."""

    async def main() -> None:
        async with ServerProcess(("bench.peers.raw", "no-such-job"), None):
            pass

    with pytest.raises(BenchError, match="KeyError: 'no-such-job'"):
        loops.run(main())


@pytest.mark.parametrize("tokens", [TOKENS - 1, TOKENS + 1])
def test_wrong_count_fails_the_run(tokens: int) -> None:
    """A turn of one token less, or one more, is an error and not a figure."""
    token = server_frame(b'{"event":"token","data":{"value":"tok "},"session_id":"s_","turn":1,"seq":1}')
    final = server_frame(b'{"event":"complete","data":{"final":true},"session_id":"s_","turn":1,"seq":2}')

    async def main() -> None:
        crowd = Crowd(StreamClient, "127.0.0.1", 1, "/")
        client = StreamClient(crowd, "127.0.0.1", 1, "/")
        assert client.consume(token * tokens) == len(token) * tokens
        with pytest.raises(BenchError, match=f"{tokens} tokens instead of {TOKENS}"):
            client.consume(final)
        await asyncio.sleep(0)

    asyncio.run(main())


def test_tokens_of_other_work_are_refused() -> None:
    """The turn that is proved must have every field, numbered without a gap."""

    def envelope(seq: int) -> dict[str, Any]:
        return {"event": "token", "data": {"value": TOKEN}, "session_id": "s_x", "turn": 1, "seq": seq}

    check_turn([envelope(2), envelope(3), envelope(4)])
    with pytest.raises(BenchError, match="not the same work"):
        check_turn([envelope(2), envelope(4)])
    with pytest.raises(BenchError, match="not the same work"):
        check_turn([envelope(2) | {"data": {"value": "other"}}])


def test_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped job or peer is answered with those there are."""
    assert cli.main(["compare", "--job", "strem", "--peers", "raw"]) == 1
    assert "echo, handshake, idle" in capsys.readouterr().err
    assert cli.main(["compare", "--peers", "rawr"]) == 1
    assert "raw, raw-batched, picows" in capsys.readouterr().err
