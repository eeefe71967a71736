"""Letters to one process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from tests.store.worlds import opened
from wsserver.store.port import INBOX_SIZE

if TYPE_CHECKING:
    from tests.store.redis_server import RedisServer


def test_an_inbox_that_nobody_reads_is_bounded(server: RedisServer) -> None:
    async def main() -> None:
        async with opened(server.url) as store:
            await store.post((store.process, b"%d" % number) for number in range(INBOX_SIZE + 1000))
            letters: list[bytes] = []
            while letters[-1:] != [b"%d" % (INBOX_SIZE + 999)]:
                letters += await store.receive()
            assert INBOX_SIZE <= len(letters) < INBOX_SIZE + 200  # whole blocks of memory go
            assert letters == [b"%d" % number for number in range(INBOX_SIZE + 1000)][-len(letters) :]

    asyncio.run(main())


def test_what_was_read_is_dropped(server: RedisServer) -> None:
    async def main() -> None:
        async with opened(server.url) as store:
            for number in range(20):
                await store.post((store.process, b"%d" % number) for _ in range(100))
                await store.receive()
            with server.client() as client:
                assert cast("int", client.xlen(f"wsserver:inbox:{{{store.process}}}")) < 500

    asyncio.run(main())


def test_letters_that_arrive_twice_are_taken_once(server: RedisServer) -> None:
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
