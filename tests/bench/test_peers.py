"""The list of peers: all that the comparison promises, each with work it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import jobs, loops, peers
from bench.compare import Plan, compare

if TYPE_CHECKING:
    from pathlib import Path


def test_every_work_of_a_job_is_done_by_ours() -> None:
    assert {jobs.load(name).work for name in jobs.names()} <= set(peers.load("ours").commands)


def test_a_peer_without_its_library_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSSERVER_TEST_NODE_PATH", str(tmp_path))
    with pytest.raises(peers.PeerMissing, match="node-ws: needs Node"):
        peers.load("node-ws")


def test_a_peer_without_its_redis_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WSSERVER_BENCH_REDIS", raising=False)
    with pytest.raises(peers.PeerMissing, match="ours-redis: WSSERVER_BENCH_REDIS names no Redis"):
        peers.load("ours-redis")


@pytest.mark.parametrize("name", [name for name in peers.names() if name not in ("ours", "raw", "picows")])
def test_each_does_the_same_work(name: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn, of which every envelope is read; those that tests of jobs meet are left out."""
    monkeypatch.setenv("WSSERVER_BENCH_REDIS", redis_url)
    try:
        peer = peers.load(name)
    except peers.PeerMissing as missing:
        pytest.skip(str(missing))
    job = jobs.load("stream" if "stream" in peer.commands else "large")
    outcome = loops.run(compare(job, [peer], Plan(rounds=1, connections=1, turns=1)))
    assert outcome.samples[name][0]["units"] > 0
