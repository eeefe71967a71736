"""The kinds of stores that keep the contract, and the servers of Redis that tests share."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from tests.store.redis_server import RedisCluster, RedisServer
from tests.store.worlds import in_memory, on_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.store.worlds import Script


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis for all tests that do it no harm; whoever uses it empties it first."""
    url = os.environ.get("WSSERVER_TEST_REDIS_URL")
    if url:
        yield url
        return
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """The same as a cluster."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


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
