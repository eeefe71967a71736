"""What a store in memory keeps, and what it lets go."""

from __future__ import annotations

import asyncio

from wsserver.store.memory import Hub, MemoryStore
from wsserver.store.port import INBOX_SIZE, Origin, Outcome, Write


def test_an_inbox_that_nobody_reads_drops_its_oldest_letters() -> None:
    async def main() -> None:
        store = MemoryStore(Hub(lambda: 0.0))
        await store.open()
        await store.post((store.process, b"%d" % number) for number in range(INBOX_SIZE + 5))
        letters = await store.receive()
        assert len(letters) == INBOX_SIZE and letters[0] == b"5"

    asyncio.run(main())


def test_a_renewal_sweeps_away_what_has_run_out() -> None:
    async def main() -> None:
        now = 0.0
        hub = Hub(lambda: now)
        living, dead = MemoryStore(hub, lease=100.0), MemoryStore(hub, lease=5.0)
        await living.open()
        await dead.open()
        write = Write("s_1", 1, 1, 10.0, Origin(None, b""))
        assert await living.write([write]) == [Outcome.DONE]
        assert (len(hub), repr(living)) == (3, f"<MemoryStore {living.process}>")
        now = 6.0
        await living.renew()
        assert len(hub) == 2
        now = 11.0
        await living.renew()
        assert len(hub) == 1

    asyncio.run(main())
