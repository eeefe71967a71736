"""Frames: the lanes, and beside them the engine that they bypass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import wire
from bench.work import ECHO
from wsserver.config import NO_LIMIT
from wsserver.wire import frames
from wsserver.wire.protocol import Protocol

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

_TOKEN = b'{"event":"token","data":{"value":"tok "},"session_id":"s_0123456789abcdefghijkl","turn":1,"seq":100}'


@pytest.mark.parametrize("size", [39, 1024, 2**16])
def test_read_by_lane(benchmark: BenchmarkFixture, size: int) -> None:
    data = wire.client_frame(b"a" * size)
    frame, end = benchmark(frames.decode, data, 0, NO_LIMIT)
    assert (len(frame.payload), end) == (size, len(data))


@pytest.mark.parametrize("lanes", [True, False], ids=["lanes", "wsproto"])
def test_read(benchmark: BenchmarkFixture, lanes: bool) -> None:
    protocol, data = Protocol(NO_LIMIT, lanes=lanes), wire.client_frame(ECHO)
    assert benchmark(lambda: list(protocol.receive_data(data))) == [frames.Frame(frames.TEXT, ECHO)]


@pytest.mark.parametrize("lanes", [True, False], ids=["lanes", "wsproto"])
def test_write_64_tokens(benchmark: BenchmarkFixture, lanes: bool) -> None:
    protocol, payloads = Protocol(NO_LIMIT, lanes=lanes), [_TOKEN] * 64

    def write() -> bytes:
        protocol.send_texts(payloads)
        return protocol.data_to_send()

    assert benchmark(write) == wire.server_frame(_TOKEN) * 64


def test_read_and_write_one_mebibyte(benchmark: BenchmarkFixture) -> None:
    protocol, data = Protocol(NO_LIMIT), wire.client_frame(bytes(2**20), wire.BINARY)

    def mirror() -> int:
        for frame in protocol.receive_data(data):
            protocol.send(frame.opcode, frame.payload)
        sent = 0
        while protocol.queued:
            sent += len(protocol.data_to_send())
        return sent

    assert benchmark(mirror) == 2**20 + 10
