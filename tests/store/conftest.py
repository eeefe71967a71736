"""The kinds of stores that keep the contract."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from tests.store.redis_server import RedisServer
from tests.store.worlds import in_memory, on_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.store.redis_server import RedisCluster
    from tests.store.worlds import Script


@pytest.fixture(params=["memory", "redis", "cluster"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Script], None]]:
    """Runs a script in a world that nobody else is in."""
    if request.param == "memory":
        yield in_memory
    elif request.param == "redis":
        url = request.getfixturevalue("redis_url")
        with Redis.from_url(url) as client:
            yield partial(on_redis, url, [client])
    else:
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        clients = [node.client() for node in cluster.nodes]
        yield partial(on_redis, cluster.url, clients)
        for client in clients:
            client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, which it may do harm to."""
    with RedisServer(tmp_path) as server:
        yield server
