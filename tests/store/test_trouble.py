"""What goes wrong with Redis, and what people are told of it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from tests.store.worlds import ALICE, FIRST, SECOND, open_and_close, opened
from wsserver import StoreError
from wsserver.store import trouble
from wsserver.store.port import Outcome

if TYPE_CHECKING:
    from tests.store.redis_server import RedisCluster, RedisServer


class TestRefusals:
    def test_a_full_redis_changes_nothing_and_goes_on_when_there_is_room(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                with server.client() as client:
                    assert await store.write([FIRST]) == [Outcome.DONE]
                    client.config_set("maxmemory", 1)
                    for write in (SECOND, replace(FIRST, session_id="s_2")):
                        with pytest.raises(StoreError, match="has no memory left: raise its maxmemory"):
                            await store.write([write])
                    record = await store.find("s_1")
                    assert record is not None and record.head == 1
                    assert await store.find("s_2") is None
                    # What takes no memory is done: to renew, to end, to count.
                    assert await store.write([replace(SECOND, batch=None)]) == [Outcome.DONE]
                    assert await store.sit({ALICE: 1}) is None
                    await store.renew()
                    client.config_set("maxmemory", 0)
                    assert await store.write([replace(SECOND, number=3)]) == [Outcome.DONE]

        asyncio.run(main())

    def test_a_replica_is_told_from_a_primary_and_left(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                with server.client() as client:
                    assert await store.write([FIRST]) == [Outcome.DONE]
                    client.replicaof("127.0.0.1", 1)
                    connected: Any = client.info("stats")["total_connections_received"]
                    with pytest.raises(StoreError, match="is a replica"):
                        await store.write([SECOND])
                    with pytest.raises(StoreError, match="is a replica"):
                        await store.write([SECOND])
                    # Where its name leads may have changed.
                    assert client.info("stats")["total_connections_received"] == connected + 1
                    client.replicaof("NO", "ONE")
                    assert await store.write([SECOND]) == [Outcome.DONE]

        asyncio.run(main())

    def test_a_wrong_password(self, server: RedisServer) -> None:
        async def main() -> None:
            with server.client() as client:
                client.config_set("requirepass", "right")
                for given in ("", ":secret@"):
                    with pytest.raises(StoreError, match="refuses the user or the password") as caught:
                        async with opened(server.url.replace("//", f"//{given}")):
                            pass
                    assert "secret" not in str(caught.value)
                async with opened(server.url.replace("//", "//:right@")) as store:
                    assert await store.write([FIRST]) == [Outcome.DONE]
                    assert "right" not in repr(store)

        asyncio.run(main())

    def test_a_user_who_may_not_do_what_is_needed(self, server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            with server.client() as client:
                client.acl_setuser(
                    "me", enabled=True, nopass=True, keys=["wsserver:*"], categories=["+@all", "-@write"]
                )
                url = server.url.replace("//", "//me:secret@")
                with pytest.raises(StoreError, match="does not let this user do what is needed"):
                    async with opened(url):
                        pass
                client.acl_setuser(
                    "me", enabled=True, nopass=True, categories=["+@write", "-@dangerous"]
                )  # INFO is one of those
                async with opened(url) as store:
                    assert await store.write([FIRST]) == [Outcome.DONE]

        with caplog.at_level(logging.WARNING, "wsserver"):
            asyncio.run(main())
        assert caplog.messages == [
            f"Redis at {server.url} does not tell this user its version and eviction policy (INFO)"
        ]

    def test_one_session_that_is_not_ours_spoils_no_other(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                with server.client() as client:
                    client.set("wsserver:{s_1}", "a string")
                    two = store.write([replace(FIRST, session_id="s_2")])
                    one, outcomes = await asyncio.gather(store.write([FIRST]), two, return_exceptions=True)
                assert outcomes == [Outcome.DONE]
                assert isinstance(one, StoreError) and "refuses what is asked of it" in str(one)

        asyncio.run(main())

    def test_a_node_of_a_cluster_by_itself(self, redis_cluster: RedisCluster) -> None:
        with pytest.raises(StoreError, match=r"is a node of a cluster: write redis\+cluster://"):
            asyncio.run(open_and_close(redis_cluster.nodes[0].url))

    def test_a_single_server_as_a_cluster(self, server: RedisServer) -> None:
        with pytest.raises(StoreError, match="cannot be used as a cluster: see whether its nodes run, and are one"):
            asyncio.run(open_and_close(server.url.replace("redis://", "redis+cluster://").removesuffix("/0")))


@pytest.mark.parametrize(
    ("exc", "advice"),
    [
        (AuthenticationError("WRONGPASS"), "refuses the user or the password"),
        (OutOfMemoryError("OOM"), "has no memory left"),
        (ReadOnlyError("READONLY"), "is a replica"),
        (ResponseError("MISCONF Redis is configured to save"), "takes nothing because it cannot save its data"),
        (MovedError("1 127.0.0.1:6379"), "is a node of a cluster"),
        (BusyLoadingError("LOADING"), "is still loading"),
        (TimeoutError("slow"), "does not answer in time"),
        (ResponseError("ERR wrong"), "refuses what is asked of it (ERR wrong)"),
        (ConnectionRefusedError("refused"), "cannot be reached"),
        (KeyError("slot"), "fails with KeyError"),
    ],
)
def test_what_to_do_is_said(exc: Exception, advice: str) -> None:
    error = trouble.explain(trouble.recognised(exc), "redis://here")
    assert isinstance(error, StoreError)
    assert str(error).startswith(f"Redis at redis://here {advice}")


def test_of_a_primary_that_is_not_found_no_settings_are_told() -> None:
    exc = MasterNotFoundError("No master found for 'main' : Sentinel<password=secret>")
    assert "secret" not in str(trouble.explain(exc, "redis+sentinel://here/main"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ERR user_script:1: -OOM command not allowed", OutOfMemoryError),
        ("ERR Error running script: -READONLY You can't write", ReadOnlyError),
        ("ERR The user executing the script can't run this command", NoPermissionError),
        ("ERR ACL failure in script: no permissions", NoPermissionError),
        ("ERR something else", ResponseError),
    ],
)
def test_what_an_error_inside_a_script_is_about(text: str, kind: type[Exception]) -> None:
    recognised = trouble.recognised(ResponseError(text))
    assert type(recognised) is kind
    # What is about one command only, others need not know.
    assert trouble.is_trouble(recognised) is (kind is not ResponseError)


def test_answers_are_no_trouble() -> None:
    assert [trouble.recognised(answer) for answer in (b"ok", 1, None)] == [b"ok", 1, None]
    assert not trouble.is_trouble(b"ok")
