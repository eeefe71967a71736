"""Addresses of a Redis as people write them, and what is shown of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelConnectionPool

from wsserver import ConfigError
from wsserver.store import address


def settings_of(url: str) -> dict[str, Any]:
    """What the connections of a client are made with."""
    client = address.parse(url).client()
    assert isinstance(client, Redis)
    return {**client.connection_pool.connection_kwargs, "class": client.connection_pool.connection_class}


@pytest.mark.parametrize(
    "url, expected",
    [
        ("redis://host", {"host": "host", "port": 6379, "username": None, "password": None}),
        ("redis://host:7000/3", {"host": "host", "port": 7000, "db": 3}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
        ("redis://me:p%40ss%2F@host", {"username": "me", "password": "p@ss/", "host": "host"}),
        ("redis://:pass@host/?socket_timeout=0.5", {"username": None, "password": "pass", "socket_timeout": 0.5}),
        ("rediss://host?ssl_ca_certs=/ca.pem", {"class": SSLConnection, "ssl_ca_certs": "/ca.pem"}),
        ("unix:///run/my%20redis.sock?db=2", {"class": UnixDomainSocketConnection, "path": "/run/my redis.sock"}),
        ("unix:///run/redis.sock?db=2", {"db": 2}),
        ("unix://me:pass@/run/redis.sock", {"username": "me", "password": "pass", "path": "/run/redis.sock"}),
    ],
)  # fmt: skip
def test_one_server(url: str, expected: dict[str, Any]) -> None:
    settings = settings_of(url)
    assert {name: settings.get(name) for name in expected} == expected


def test_behind_sentinels() -> None:
    where = address.parse("redis+sentinel://me:pass@one,two:7000/main/4?sentinel_password=other&socket_timeout=2")
    client = where.client()
    assert isinstance(client, Redis)
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool) and pool.service_name == "main"
    expected = {"username": "me", "password": "pass", "db": 4, "socket_timeout": 2.0}
    assert {name: pool.connection_kwargs[name] for name in expected} == expected
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(kwargs["host"], kwargs["port"]) for kwargs in asked] == [("one", 26379), ("two", 7000)]
    assert {(kwargs["username"], kwargs["password"], kwargs["socket_timeout"]) for kwargs in asked} == {
        (None, "other", 2.0)
    }
    assert where.timeout == 2.0


def test_behind_sentinels_over_tls() -> None:
    client = address.parse("rediss+sentinel://one/main?ssl_ca_certs=/ca.pem").client()
    assert isinstance(client, Redis)
    primary = client.connection_pool
    assert isinstance(primary, SentinelConnectionPool)
    (sentinel,) = primary.sentinel_manager.sentinels
    for pool in (primary, sentinel.connection_pool):
        assert issubclass(pool.connection_class, SSLConnection)
        assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"


def test_a_cluster() -> None:
    where = address.parse("rediss+cluster://me:pass@one,two:7000")

    async def main() -> None:
        client = where.client()
        assert isinstance(client, RedisCluster)
        assert list(client.nodes_manager.startup_nodes) == ["one:6379", "two:7000"]
        kwargs = client.connection_kwargs
        assert (kwargs["username"], kwargs["password"], kwargs["connection_class"]) == ("me", "pass", SSLConnection)
        await address.close(client)

    asyncio.run(main())
    assert where.timeout == address.TIMEOUT


def test_names_of_keys_begin_as_the_address_says() -> None:
    assert address.parse("redis://host").prefix == "wsserver:"
    assert address.parse("redis://host?prefix=shop:").prefix == "shop:"
    assert "prefix" not in settings_of("redis://host?prefix=shop:")


@pytest.mark.parametrize(
    "url, shown",
    [
        ("redis://me:secret@host:7000/0?ssl_password=secret", "redis://host:7000/0"),
        ("redis+cluster://:secret@one,two", "redis+cluster://one,two"),
        ("redis+sentinel://me:secret@one/main?sentinel_password=secret", "redis+sentinel://one/main"),
        ("unix://:secret@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_what_is_shown_has_no_password(url: str, shown: str) -> None:
    assert address.parse(url).shown == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://host",
        "redis://",
        "redis://:secret/more@host",
        "redis://me:sec@ret:secret@ho st:x",
        "redis://host:port",
        "redis://host:99999",
        "redis://host/name",
        "redis://one,two",
        "redis://[::1",
        "redis+sentinel://:secret@one",
        "redis+sentinel://one/main/name",
        "redis+sentinel://,/main",
        "redis+cluster://one/1",
        "redis+proxy://one",
        "unix+cluster:///run/redis.sock",
        "unix://",
        "redis://host?socket_timeout=secret",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match="--redis takes an address like") as caught:
        address.parse(url)
    assert "secret" not in str(caught.value) and caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("where", ["redis://host", "redis+cluster://host", "redis+sentinel://host/main"])
def test_settings_that_are_unknown(where: str) -> None:
    with pytest.raises(ConfigError, match="has a setting that redis-py does not take") as caught:
        address.parse(f"{where}?no_such_setting=secret").client()
    assert "secret" not in str(caught.value)
