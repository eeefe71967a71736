"""The reader of a session that is in another process, at the writer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.net.instances import Instances, share
from tests.peer import Peer, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Turn


def test_a_client_that_reads_slowly_elsewhere_slows_the_callback() -> None:
    published = 0

    async def flood(turn: Turn) -> AsyncIterator[str]:
        nonlocal published
        await asyncio.sleep(1)
        for number in range(3000):
            published = number
            yield "x" * 1000

    async def story(instances: Instances) -> None:
        one, two = await instances.start(), await instances.start()
        async with Peer.connect(one.urls[0]) as peer:
            await peer.ask("go")
            await peer.event("start")
        await one.sockets.emptied()
        async with Peer.connect(two.urls[0] + peer.resume(1), "X: x") as again:
            again.reader._limit = 1000  # type: ignore[attr-defined]
            await again.event("replayed")
            await asyncio.sleep(20)
            assert 50 < published < 2999
            events = await again.turn()
            assert len(text_of(events)) == 3_000_000

    share(story, flood, write_timeout=0, ping_interval=0)
