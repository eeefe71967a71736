"""What is said while a message is stored."""

from __future__ import annotations

import asyncio

from tests.net.instances import Instances, share
from tests.net.steps import Steps
from tests.peer import Peer
from wsserver.chat.events import Ping
from wsserver.chat.pool import Pool
from wsserver.net.sharing.later import Later


def test_it_is_heard_in_its_order_and_counted_until_then() -> None:
    pool = Pool()
    later = Later(pool)
    later.add(Ping(1), 100)
    later.add(Ping(2), 20)
    assert (len(later), pool.used, pool.waiting) == (2, 120, 120)
    assert later.next() == Ping(1)
    assert (len(later), pool.used, pool.waiting) == (1, 20, 20)
    later.add(Ping(3), 3)
    later.clear()
    assert (len(later), pool.used, pool.waiting) == (0, 0, 0)


def test_where_memory_is_short_no_more_waits_for_the_store() -> None:
    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            await asyncio.sleep(1)
            instances.pause(server)
            for number in range(20):
                await peer.ask("x" * 50_000, id=f"m{number}")
            # The first is being stored; of the others as many wait as take half of the memory.
            refused = [await peer.event("error") for _ in range(9)]
            assert {event["data"]["code"] for event in refused} == {"overloaded"}
            assert server.sessions.pool.waiting < 600_000
            # What is small is heard.
            await peer.send({"event": "stop"})
            await peer.send({"event": "end"})
            instances.go_on(server)
            assert (await peer.closed())[0] == 1000
        await server.sockets.emptied()
        assert (server.sessions.pool.used, server.sessions.pool.waiting) == (0, 0)

    share(story, Steps(), durability="strict", max_memory=1_000_000)
