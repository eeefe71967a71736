"""What a Redis must be and should be, before anything is kept in it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from tests.store.worlds import open_and_close
from wsserver import StoreError
from wsserver.store import checks

if TYPE_CHECKING:
    from tests.store.redis_server import RedisServer


@pytest.mark.parametrize("policy", ["noeviction", "volatile-ttl"])
def test_a_redis_that_drops_keys_is_warned_of(
    server: RedisServer, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", policy)
    with caplog.at_level(logging.WARNING, "wsserver"):
        asyncio.run(open_and_close(server.url.replace("//", "//default:secret@")))
    expected = [
        f"Redis at {server.url} drops keys when its memory is full (maxmemory-policy volatile-ttl), so sessions may"
        " be lost: set maxmemory-policy to noeviction"
    ]
    assert caplog.messages == (expected if policy == "volatile-ttl" else [])


def test_a_redis_that_is_too_old(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_VERSION", (99, 0))
    with pytest.raises(StoreError, match=r"is version \d+\.\d+\.\d+: 6\.2 or newer is needed, or Valkey"):
        asyncio.run(open_and_close(server.url))
