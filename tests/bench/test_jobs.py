"""One tiny round of every job: it reaches its end, and its counts are exact. What it measures means nothing here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bench import jobs, loops, peers, wire
from bench.client import Crowd
from bench.compare import Plan, compare
from bench.errors import BenchError
from bench.jobs import latencies
from bench.jobs.echo import EchoClient
from bench.jobs.large import LargeClient
from bench.jobs.paced import PacedClient
from bench.jobs.resume import ResumedClient
from bench.jobs.stream import StreamClient
from bench.work import LARGE, LARGE_MESSAGE, PACED_TOKENS, TOKENS

if TYPE_CHECKING:
    from bench.client import Client

CONNECTIONS, TURNS = 3, 1

UNITS = {
    "stream": CONNECTIONS * TURNS * TOKENS,
    "scale": CONNECTIONS * TURNS * TOKENS,
    "paced": CONNECTIONS * TURNS * PACED_TOKENS,
    "echo": CONNECTIONS * TURNS,
    "handshake": CONNECTIONS * TURNS,
    "large": CONNECTIONS * TURNS,
    "idle": CONNECTIONS,
    "resume": CONNECTIONS,
}

#: Beside ours. In the jobs that take seconds, because they keep a pace, there are fewer of them.
PEERS = {"paced": ("raw-batched",), "idle": (), "resume": ()}
CHEAP = ("raw", "picows", "websockets")


def test_no_job_is_left_out() -> None:
    assert sorted(UNITS) == jobs.names()


@pytest.mark.parametrize("name", UNITS)
def test_a_tiny_round(name: str) -> None:
    job = jobs.load(name)
    able = [peers.load(peer) for peer in ("ours", *PEERS.get(name, CHEAP))]
    outcome = loops.run(compare(job, able, Plan(rounds=1, connections=CONNECTIONS, turns=TURNS)))
    for peer in able:
        (sample,) = outcome.samples[peer.name]
        assert sample["units"] == UNITS[name]
        assert sample["cpu"] > 0
        assert 1 < sample["peak"] < 1000
        assert {column.key for column in job.columns} - sample.keys() <= {"instructions"}
        if "p99" in sample:
            assert 0 < sample["p50"] <= sample["p99"]


def test_latencies() -> None:
    """In milliseconds; the 99th percentile of a hundred is the largest."""
    assert latencies([n / 1000 for n in reversed(range(1, 101))]) == {"p50": 51.0, "p99": 100.0}
    assert latencies([0.002]) == {"p50": 2.0, "p99": 2.0}


def fails(client_of: type[Client], data: bytes, why: str, *before: bytes) -> None:
    """A client that reads `data` makes the run void."""

    async def main() -> None:
        crowd: Crowd[Any] = Crowd(client_of, "127.0.0.1", 1, "/")
        client = client_of(crowd, "127.0.0.1", 1, "/")
        for earlier in before:
            client.consume(earlier)
        with pytest.raises(BenchError, match=why):
            client.consume(data)

    asyncio.run(main())


SESSION = wire.server_frame(b'{"event":"session","data":{"resumed":true,"recovered":true},"session_id":"s_x"}')


@pytest.mark.parametrize(
    "answer",
    [
        b'{"event":"ping","data":{"value":"abc"},"session_id":"s_x"}',
        b'{"event":"pong","data":{"value":"abd"},"session_id":"s_x"}',
        b'{"event":"pong","data":{"value":"abc"}}',
    ],
)
def test_an_echo_that_is_not_the_same_work_is_refused(answer: bytes) -> None:
    fails(EchoClient, wire.server_frame(answer), "not the same work", SESSION)


def test_a_large_message_that_is_another_is_refused() -> None:
    fails(LargeClient, wire.server_frame(bytes(LARGE), wire.BINARY), "not the message that was sent")


def test_a_ping_may_stand_behind_a_large_message() -> None:
    class Mirrored(LargeClient):
        pings = answers = 0

        def on_frame(self, first: int, payload: bytes) -> None:
            self.pings += first == 0x80 | wire.PING

        def _next(self) -> None:
            self.answers += 1

    async def main() -> None:
        client = Mirrored(Crowd(Mirrored, "127.0.0.1", 1, "/"), "127.0.0.1", 1, "/")
        answer, ping = wire.server_frame(LARGE_MESSAGE, wire.BINARY), wire.server_frame(b"", wire.PING)
        for data in (answer + ping, ping + answer[:1000], answer[1000:] + ping + answer, ping):
            assert client.consume(data) == len(data)
        assert (client.answers, client.pings) == (3, 4)

    asyncio.run(main())


def test_a_replay_with_a_hole_is_refused() -> None:
    event = wire.server_frame(b'{"event":"token","data":{"value":"x"},"session_id":"s_x","turn":1,"seq":3}')
    replayed = wire.server_frame(b'{"event":"replayed","data":{"count":16,"seq":18},"session_id":"s_x"}')
    fails(ResumedClient, replayed, "15 events instead of 16", SESSION, event * 15)


def test_every_cut_of_a_stream_is_read() -> None:
    """An empty ping is two bytes; one that waited for more bytes would make a server think that its client is gone."""
    token = wire.server_frame(b'{"event":"token","data":{"value":"%b"},"session_id":"s_"}' % (b"x" * 100))
    data = wire.server_frame(b"", wire.PING)
    assert len(token) > 126 and len(data) == 2

    class Counting(StreamClient):
        pings = 0

        def on_frame(self, first: int, payload: bytes) -> None:
            assert (first, payload) == (0x80 | wire.PING, b"")
            self.pings += 1

    async def main() -> None:
        crowd: Crowd[Any] = Crowd(Counting, "127.0.0.1", 1, "/")
        for cut in range(len(token) + 1):
            client = Counting(crowd, "127.0.0.1", 1, "/")
            taken = client.consume((token + data)[:cut])
            assert client.consume((token + data)[taken:]) == len(token + data) - taken
            assert (client.tokens, client.pings) == (1, 1)

    asyncio.run(main())


def test_tokens_that_are_not_their_times_are_refused() -> None:
    async def main() -> None:
        crowd: Crowd[Any] = Crowd(PacedClient, "127.0.0.1", 1, "/")
        client = PacedClient(crowd, "127.0.0.1", 1, "/")
        with pytest.raises(BenchError, match="not the times"):
            client.check([{"data": {"value": "tok "}}])

    asyncio.run(main())
