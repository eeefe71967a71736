"""Events ↔ JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.work import ECHO, MESSAGE
from wsserver.chat import envelope, events

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

_ID = "s_0123456789abcdefghijkl"


def test_token_by_template(benchmark: BenchmarkFixture) -> None:
    template = envelope.token_template(_ID, 1)
    made = benchmark(lambda: template % (envelope.encode_value("tok ")[1:-1], 42))
    assert json.loads(made)["seq"] == 42


def test_token_by_dict(benchmark: BenchmarkFixture) -> None:
    made = benchmark(lambda: envelope.encode_event("token", {"value": "tok "}, _ID, 1, 42))
    assert json.loads(made)["seq"] == 42


def test_read_a_message(benchmark: BenchmarkFixture) -> None:
    assert benchmark(envelope.decode_event, MESSAGE) == events.Message("go", None)


def test_read_a_ping(benchmark: BenchmarkFixture) -> None:
    assert benchmark(envelope.decode_event, ECHO) == events.Ping({"value": "abc"}, None)
