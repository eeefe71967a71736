"""The opening handshake with a browser's headers: its bytes, and the whole of it with seat, session and greeting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bench.mock import open_connection, request
from wsserver import Config, Server
from wsserver.wire import handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pytest_benchmark.fixture import BenchmarkFixture

    from wsserver import Turn


def test_bytes(benchmark: BenchmarkFixture) -> None:
    data = request()

    def answer() -> bytes:
        read = handshake.RequestReader().receive_data(data)
        assert read is not None
        return handshake.accept(handshake.parse_upgrade(read))

    assert benchmark(answer).startswith(b"HTTP/1.1 101 ")


def test_open_and_lose(benchmark: BenchmarkFixture) -> None:
    async def generate(turn: Turn) -> AsyncIterator[str]:
        yield "unused"

    config = Config(
        port=0, handshake_rate=0, max_connections=0, max_connections_per_ip=0, max_connections_per_user=0, resume_ttl=0
    )

    async def main() -> None:
        async with Server(generate, config) as server:

            def visit() -> bytes:
                _, transport = open_connection(server)
                transport.abort()
                return transport.last

            assert b'"event":"session"' in benchmark(visit)

    asyncio.run(main())
