"""What a session that comes back is sent: an answer of 256 tokens, from a log at rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.work import TOKEN, TOKENS
from wsserver import Config
from wsserver.chat.events import Message
from wsserver.chat.log import Cursor, Log
from wsserver.chat.session import Session

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture
def log() -> Log:
    """Three answers: of each `start`, its tokens, `complete`."""
    session = Session(Config())
    for _ in range(3):
        session.take(Message("go"))
        turn = session.next_turn()
        assert turn is not None
        for _ in range(TOKENS):
            turn.publish(TOKEN)
        turn.complete("completed")
        session.turn = None
    return session.log


@pytest.mark.parametrize("missed", [0, 16, TOKENS + 2])
def test_replay(benchmark: BenchmarkFixture, log: Log, missed: int) -> None:
    first = log.head - missed
    events = benchmark(lambda: Cursor(log, first).read(2**20))
    assert [json.loads(event)["seq"] for event in events] == list(range(first + 1, log.head + 1))
