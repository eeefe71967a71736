"""What only a real Redis does: it goes away and comes back empty, or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from tests.store.redis_server import RedisServer, wait_until
from tests.store.worlds import ALICE, FIRST, SECOND, opened
from wsserver import StoreError
from wsserver.store.port import Batch, Origin, Outcome, Piece, Write

if TYPE_CHECKING:
    from pathlib import Path


AGAIN = Write("s_1", 1, 2, 60.0, Origin("alice", b"digest"), 1, Batch(2, (Piece(1, (b"x",)),)), anew=True)


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


class TestOpening:
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
