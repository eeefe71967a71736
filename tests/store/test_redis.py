"""What only a real Redis does: it goes away and comes back empty, forgets its scripts, is full, or refuses us."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.store.redis_server import RedisServer, wait_until
from wsserver import StoreError
from wsserver.store import checks
from wsserver.store.port import INBOX_SIZE, Batch, Origin, Outcome, Piece, Seat, Write
from wsserver.store.redis import RedisStore
from wsserver.store.scripts import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.store.redis_server import RedisCluster

FIRST = Write("s_1", 1, 1, 60.0, Origin("alice", b"digest"), batch=Batch(1, (Piece(None, (b"{}",)),)))
SECOND = Write("s_1", 1, 2, 60.0, None, 1, Batch(2, (Piece(1, (b"x",)),)))
AGAIN = Write("s_1", 1, 2, 60.0, Origin("alice", b"digest"), 1, Batch(2, (Piece(1, (b"x",)),)), anew=True)
ALICE = Seat("user", "alice")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, which it may do harm to."""
    with RedisServer(tmp_path) as server:
        yield server


@asynccontextmanager
async def opened(url: str, lease: float = 60.0) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, lease=lease)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


class TestGone:
    def test_at_the_start_one_line_says_where_and_what_to_do(self, tmp_path: Path) -> None:
        server = RedisServer(tmp_path)

        async def main() -> None:
            async with opened(server.url.replace("//", "//me:secret@")):
                pass

        with pytest.raises(StoreError) as caught:
            asyncio.run(main())
        (line,) = str(caught.value).splitlines()
        assert line.startswith(
            f"Redis at {server.url} cannot be reached: see whether it runs, and whether --redis is right"
        )
        assert "secret" not in line

    def test_what_waits_for_letters_hears_of_it_and_all_goes_on_when_it_is_back(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                assert await store.write([FIRST]) == [Outcome.DONE]
                assert await store.sit({ALICE: 1}) is None
                receiving = asyncio.create_task(store.receive())
                server.kill()
                calls = (store.write([SECOND]), store.find("s_1"), store.sit({ALICE: 1}), store.renew(), receiving)
                failed = await asyncio.gather(*calls, return_exceptions=True)
                assert {type(failure) for failure in failed} == {StoreError}

                server.start()  # and has forgotten all, its scripts too
                assert await store.write([SECOND]) == [Outcome.LOST]
                assert await store.write([AGAIN]) == [Outcome.DONE]
                await store.renew()
                assert await store.is_alive(store.process)
                # The place that was taken is counted as before.
                async with opened(server.url) as other:
                    assert await other.sit({ALICE: 1}) == ALICE
                await store.post([(store.process, b"hello")])
                assert await store.receive() == [b"hello"]

        asyncio.run(main())

    def test_one_that_hangs_does_not_answer_in_time(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(f"{server.url}?socket_timeout=0.3") as store:
                assert await store.write([FIRST]) == [Outcome.DONE]
                os.kill(server.pid, signal.SIGSTOP)
                try:
                    with pytest.raises(StoreError, match="does not answer in time"):
                        await store.write([SECOND])
                finally:
                    os.kill(server.pid, signal.SIGCONT)
                # It was done after all, or is done now: once.
                assert await store.write([SECOND]) == [Outcome.DONE]
                assert [batch.last for batch in await store.read("s_1", 0, 10)] == [1, 2]

        asyncio.run(main())

    def test_a_session_that_redis_has_lost_a_part_of_is_written_anew(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                assert await store.write([FIRST, SECOND]) == [Outcome.DONE] * 2
                with server.client() as client:
                    client.delete("wsserver:{s_1}:log")
                    client.hset("wsserver:{s_1}", mapping={"head": 1, "number": 1})
                third = replace(SECOND, number=3, before=2, batch=Batch(3, SECOND.batch.pieces if SECOND.batch else ()))
                assert await store.write([third]) == [Outcome.GAP]
                whole = replace(third, created=FIRST.created, anew=True)
                assert await store.write([whole]) == [Outcome.DONE]
                assert [batch.last for batch in await store.read("s_1", 2, 10)] == [3]

        asyncio.run(main())


class TestScripts:
    def test_a_redis_that_has_forgotten_them_is_given_them_again(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                with server.client() as client:
                    assert await store.write([FIRST]) == [Outcome.DONE]
                    client.script_flush()
                    flush = [SECOND, *(replace(FIRST, session_id=f"s_{number}") for number in range(2, 9))]
                    assert await store.write(flush) == [Outcome.DONE] * 8
                    client.script_flush()
                    assert await store.sit({ALICE: 1}) is None
                    client.script_flush()
                    assert await store.take("s_1", 1, lost=False) is not None
                    client.script_flush()
                    assert not await store.leave("s_1", b"letter")
                    client.script_flush()
                    await store.post([(store.process, b"letter")])
                    assert await store.receive() == [b"letter"]

        asyncio.run(main())

    def test_they_are_sent_once(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                assert await store.write([FIRST]) == [Outcome.DONE]
                with server.client() as client:
                    client.config_resetstat()
                    assert await store.write([SECOND]) == [Outcome.DONE]
                    commands: Any = client.info("commandstats")
                assert commands["cmdstat_evalsha"]["calls"] == 1
                assert "cmdstat_eval" not in commands

        asyncio.run(main())

    def test_a_take_whose_answer_was_lost_may_be_repeated(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store, opened(server.url) as other:
                assert await store.write([FIRST]) == [Outcome.DONE]
                copy = await store.take("s_1", 1, lost=True)
                assert copy is not None and copy.record.begins == (0, 1)
                assert await store.take("s_1", 1, lost=True) == copy
                assert await other.take("s_1", 1, lost=True) is None
                assert await store.write([replace(SECOND, fence=2, number=1)]) == [Outcome.DONE]
                assert await store.take("s_1", 1, lost=True) is None

        asyncio.run(main())


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
            asyncio.run(_open(redis_cluster.nodes[0].url))

    def test_a_single_server_as_a_cluster(self, server: RedisServer) -> None:
        with pytest.raises(StoreError, match="cannot be used as a cluster: see whether its nodes run, and are one"):
            asyncio.run(_open(server.url.replace("redis://", "redis+cluster://").removesuffix("/0")))


class TestOpening:
    @pytest.mark.parametrize("policy", ["noeviction", "volatile-ttl"])
    def test_a_redis_that_drops_keys_is_warned_of(
        self, server: RedisServer, policy: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with server.client() as client:
            client.config_set("maxmemory-policy", policy)
        with caplog.at_level(logging.WARNING, "wsserver"):
            asyncio.run(_open(server.url.replace("//", "//default:secret@")))
        expected = [
            f"Redis at {server.url} drops keys when its memory is full (maxmemory-policy volatile-ttl), so sessions may"
            " be lost: set maxmemory-policy to noeviction"
        ]
        assert caplog.messages == (expected if policy == "volatile-ttl" else [])

    def test_a_redis_that_is_too_old(self, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checks, "_VERSION", (99, 0))
        with pytest.raises(StoreError, match=r"is version \d+\.\d+\.\d+: 6\.2 or newer is needed, or Valkey"):
            asyncio.run(_open(server.url))

    def test_a_socket_and_a_prefix(self, tmp_path: Path) -> None:
        path = tmp_path / "redis.sock"

        async def main() -> None:
            async with opened(f"unix://{path}?prefix=shop:") as store:
                assert await store.write([FIRST]) == [Outcome.DONE]
                await store.post([(store.process, b"letter")])
                assert await store.receive() == [b"letter"]

        with RedisServer(tmp_path, ["--unixsocket", str(path)]) as server, server.client() as client:
            asyncio.run(main())
            assert sorted(cast("list[bytes]", client.keys())) == [b"shop:{s_1}", b"shop:{s_1}:log"]

    def test_nothing_is_left_for_ever(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url, lease=0.2) as store, opened(server.url) as other:
                everything = replace(
                    FIRST, ttl=0.2, facts={"a": b"1"}, history=[b"1"], accepted={1: b"1"}, released=True
                )
                assert await store.write([everything, replace(everything, session_id="s_2", ended=True)])
                assert await other.leave("s_1", b"letter")
                assert await store.sit({ALICE: 1}) is None
                await other.post([(store.process, b"letter")])
                with server.client() as client:
                    assert client.dbsize() == 11
                    assert all(cast("int", client.pttl(key)) > 0 for key in client.scan_iter())
                    await asyncio.to_thread(wait_until, lambda: client.exists("wsserver:{s_1}") == 0)
                    await asyncio.to_thread(wait_until, lambda: client.dbsize() <= 3)
                assert not await other.is_alive(store.process)
                assert await other.sit({ALICE: 1}) is None

        asyncio.run(main())


class TestLetters:
    def test_an_inbox_that_nobody_reads_is_bounded(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                await store.post((store.process, b"%d" % number) for number in range(INBOX_SIZE + 1000))
                letters: list[bytes] = []
                while letters[-1:] != [b"%d" % (INBOX_SIZE + 999)]:
                    letters += await store.receive()
                assert INBOX_SIZE <= len(letters) < INBOX_SIZE + 200  # whole blocks of memory go
                assert letters == [b"%d" % number for number in range(INBOX_SIZE + 1000)][-len(letters) :]

        asyncio.run(main())

    def test_what_was_read_is_dropped(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                for number in range(20):
                    await store.post((store.process, b"%d" % number) for _ in range(100))
                    await store.receive()
                with server.client() as client:
                    assert cast("int", client.xlen(f"wsserver:inbox:{{{store.process}}}")) < 500

        asyncio.run(main())

    def test_letters_that_arrive_twice_are_taken_once(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store:
                await store.post([(store.process, b"1"), (store.process, b"2")])
                key = f"wsserver:inbox:{{{store.process}}}"
                with server.client() as client:
                    for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(key)):
                        client.xadd(key, fields)
                await store.post([(store.process, b"3")])
                assert await store.receive() == [b"1", b"2", b"3"]

        asyncio.run(main())


class TestSeats:
    def test_who_is_gone_before_it_sits_holds_no_place(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store, opened(server.url) as other:
                sitting = asyncio.create_task(store.sit({ALICE: 1}))
                await asyncio.sleep(0)
                sitting.cancel()
                await asyncio.wait([sitting])
                await store.renew()
                assert await other.sit({ALICE: 1}) is None

        asyncio.run(main())

    def test_what_was_asked_of_a_redis_that_hung_is_counted_right(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(f"{server.url}?socket_timeout=0.3") as store, opened(server.url) as other:
                assert await store.sit({ALICE: 9}) is None
                os.kill(server.pid, signal.SIGSTOP)
                try:
                    with pytest.raises(StoreError):
                        await store.sit({ALICE: 9})  # Redis does it later, but nobody hears of it
                    with pytest.raises(StoreError):
                        await store.stand([ALICE])
                finally:
                    os.kill(server.pid, signal.SIGCONT)
                await store.renew()
                assert await other.sit({ALICE: 1}) is None

        asyncio.run(main())

    def test_an_exchange_that_comes_late_changes_nothing(self, server: RedisServer) -> None:
        async def main() -> None:
            async with opened(server.url) as store, opened(server.url) as other:
                assert await store.sit({ALICE: 2}) is None
                keys = ("processes:{seats}", f"process:{{seats}}:{store.process}")
                late = run("seats", [f"wsserver:{key}" for key in keys], store.process, 60_000, 1, "all", 0)
                with server.client() as client:
                    client_any: Any = client
                    assert client_any.execute_command(*late.words) == [b"late"]
                assert await other.sit({ALICE: 1}) == ALICE

        asyncio.run(main())


async def _open(url: str) -> None:
    async with opened(url):
        pass
