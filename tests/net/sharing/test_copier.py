"""How sessions are copied to a store: each of its nodes for itself, tokens in passing, what is waited for at once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from tests.net.instances import LEASE, Instances, Way, copier_of, out_of_reach, share
from tests.net.steps import Steps, begun, seqs
from tests.peer import Peer, text_of
from wsserver import Config, Server, StoreError
from wsserver.store.memory import Hub
from wsserver.store.port import NOTHING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from wsserver import Turn
    from wsserver.store.port import Count, Outcome, Write

    Script = Callable[[Server, "Fork"], Coroutine[None, None, None]]


class Fork(Way):
    """A store of two nodes, the first of which has the first session. `shut` are out of reach, which takes `patience`
    seconds to find out."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.lanes: dict[str, str] = {}
        self.shut: set[str] = set()
        self.patience = 5.0
        self.flushes: list[tuple[float, list[str]]] = []
        self.deaf = False  # to all but writes

    def lane(self, session_id: str) -> str:
        return self.lanes.setdefault(session_id, "second" if self.lanes else "first")

    async def renew(self, own: Count = NOTHING) -> None:
        if self.deaf:
            raise StoreError("the node of leases is out of reach")
        await super().renew(own)

    async def write(self, writes: Iterable[Write]) -> list[Outcome]:
        given = list(writes)
        [lane] = {self.lane(write.session_id) for write in given}
        self.flushes.append((asyncio.get_running_loop().time(), [write.session_id for write in given]))
        if lane in self.shut:
            await asyncio.sleep(self.patience)
            raise StoreError(f"the {lane} node is out of reach")
        return await super().write(given)


@asynccontextmanager
async def two_of(server: Server) -> AsyncIterator[tuple[Peer, Peer]]:
    """The clients of the first session, which is on the first node, and of the second one."""
    async with Peer.connect(server.urls[0]) as near:
        await asyncio.sleep(1.0)
        async with Peer.connect(server.urls[0]) as far:
            await asyncio.sleep(1.0)
            yield near, far


async def answer(turn: Turn) -> AsyncIterator[str]:
    for word in ("one ", "two ", "three"):
        yield word


def copy(script: Script, generate: Callable[[Turn], AsyncIterator[str]], durability: str) -> None:
    async def main() -> None:
        fork = Fork(Hub(asyncio.get_running_loop().time))
        config = Config(port=0, redis="redis://127.0.0.1", durability=durability)  # type: ignore[arg-type]
        async with Server(generate, config, store=fork) as server:
            await script(server, fork)

    run_virtually(main())


@pytest.mark.parametrize("durability", ["fast", "strict"])
def test_a_node_that_is_out_of_reach_holds_up_no_session_of_another(
    durability: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(server: Server, fork: Fork) -> None:
        async with two_of(server) as (near, far):
            assert fork.lane(far.session["session_id"]) == "second"
            fork.shut.add("second")
            await far.ask("go", id="m1")
            await asyncio.sleep(0.5)  # its flush is under way
            loop = asyncio.get_running_loop()
            began = loop.time()
            for number in range(1, 4):
                await near.ask("go")
                events = await near.turn()
                assert text_of(events) == "one two three"
                assert seqs(events)[-1] == 5 * number
            assert loop.time() - began < 1.0
            fork.shut.clear()
            assert (await far.event("ack"))["data"]["ref"] == "m1"

    with caplog.at_level(logging.WARNING, "wsserver"):
        copy(story, answer, durability)


def test_a_node_that_stays_away_is_told_of_once_and_others_do_not_call_it_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(server: Server, fork: Fork) -> None:
        async with two_of(server) as (near, far):
            assert fork.lane(far.session["session_id"]) == "second"
            fork.shut.add("second")
            fork.patience = 0.1
            await far.ask("go", id="m1")
            for _ in range(10):
                await near.ask("go")
                await near.turn()
                await asyncio.sleep(1.0)
            # Where nothing has to be stored first, nobody waits for it.
            assert (await far.event("ack"))["data"]["ref"] == "m1"
            assert len(caplog.messages) == 1 and "out of reach" in caplog.messages[0]
            fork.shut.clear()
            await asyncio.sleep(10.0)
            assert len(caplog.messages) == 2 and "in reach again" in caplog.messages[1]

    with caplog.at_level(logging.WARNING, "wsserver.net"):
        copy(story, answer, "fast")


@pytest.mark.parametrize("busy", [False, True])
def test_a_node_of_leases_that_is_back_is_in_reach_again_also_where_there_is_always_something_to_write(
    busy: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def ticking(turn: Turn) -> AsyncIterator[str]:
        while True:
            yield "tick "
            await asyncio.sleep(0.02)

    async def story(server: Server, fork: Fork) -> None:
        assert server.cluster is not None
        copier = server.cluster.sessions.copier
        async with Peer.connect(server.urls[0]) as peer:
            if busy:
                await peer.ask("go")
            fork.deaf = True
            await asyncio.sleep(LEASE)
            assert copier.out
            fork.deaf = False
            await asyncio.sleep(LEASE / 2)  # a sign of life and a half
            assert not copier.out

    with caplog.at_level(logging.WARNING, "wsserver.net"):
        copy(story, ticking, "fast")
    assert ["in reach again" in message for message in caplog.messages] == [False, True]


def test_how_far_the_store_is_behind_is_told_by_the_node_that_is_furthest() -> None:
    async def story(server: Server, fork: Fork) -> None:
        assert server.cluster is not None
        copier = server.cluster.sessions.copier
        async with two_of(server) as (near, far):
            fork.shut.add(fork.lane(far.session["session_id"]))
            fork.patience = 0.1
            await far.ask("go", id="m1")
            for _ in range(3):
                await asyncio.sleep(4.0)
                await near.ask("go")
                await near.turn()
            assert copier.lag > 11
            fork.shut.clear()
            await asyncio.sleep(20.0)
            assert copier.lag == 0

    copy(story, answer, "fast")


def test_a_session_whose_node_has_a_successor_is_in_reach_again(caplog: pytest.LogCaptureFixture) -> None:
    async def story(server: Server, fork: Fork) -> None:
        async with Peer.connect(server.urls[0]) as peer:
            name = peer.session["session_id"]
            fork.shut.add(fork.lane(name))
            fork.patience = 0.1
            await peer.ask("go")
            await peer.turn()
            await asyncio.sleep(5.0)
            assert server.cluster is not None and server.cluster.sessions.copier.out
            fork.lanes[name] = "successor"
            await asyncio.sleep(15.0)
            assert not server.cluster.sessions.copier.out
            record = await fork.find(name)
            assert record is not None and record.head == 5

    with caplog.at_level(logging.WARNING, "wsserver.net"):
        copy(story, answer, "fast")
    assert ["in reach again" in message for message in caplog.messages] == [False, True]


def test_a_session_whose_lane_changes_has_one_write_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    async def story(server: Server, fork: Fork) -> None:
        async with Peer.connect(server.urls[0]) as peer:
            name = peer.session["session_id"]
            await asyncio.sleep(1.0)
            fork.flush_time = 0.5
            await peer.ask("go")
            await asyncio.sleep(0.1)
            before = len(fork.flushes)
            fork.lanes[name] = "successor"
            await server.push(name, "news")
            await asyncio.sleep(0.3)
            assert len(fork.flushes) == before
            await peer.event("news")
            await peer.turn()

    with caplog.at_level(logging.WARNING, "wsserver.net"):
        copy(story, answer, "strict")
    assert not caplog.messages


def test_tokens_are_copied_several_times_a_second() -> None:
    async def paced(turn: Turn) -> AsyncIterator[str]:
        for number in range(100):
            yield f"{number} "
            await asyncio.sleep(0.03)

    async def story(server: Server, fork: Fork) -> None:
        async with Peer.connect(server.urls[0]) as peer:
            await peer.ask("go")
            await peer.turn()
            during = len(fork.flushes)
            assert 10 <= during <= 25  # of 3 seconds
            await asyncio.sleep(0.3)
            record = await fork.find(peer.session["session_id"])
            assert record is not None and record.head == 102

    copy(story, paced, "fast")


def test_running_answers_go_on_and_new_ones_begin(caplog: pytest.LogCaptureFixture) -> None:
    steps = Steps()

    async def story(instances: Instances) -> None:
        server = await instances.start()
        async with Peer.connect(server.urls[0]) as peer:
            events = await begun(peer, steps, 1)
            instances.ways[server].closed = True
            steps.let(2)
            events += await peer.turn()
            assert text_of(events) == "one two three"
            await out_of_reach(server)
            async with Peer.connect(server.urls[0]) as other:
                assert other.session["data"]["resumable"] is False
            await peer.ask("more", id="m2")
            await peer.event("ack")
            steps.let(3)
            assert text_of(await peer.turn()) == "one two three"
            instances.ways[server].closed = False
            await asyncio.sleep(20)
            assert not copier_of(server).out
            [journal] = [one for one in copier_of(server).journals if one.log.head]
            assert journal.log.durable == journal.log.head == 10
        async with Peer.connect(server.urls[0]) as other:
            assert other.session["data"]["resumable"] is True

    with caplog.at_level(logging.WARNING, "wsserver.net.sharing.copier"):
        share(story, steps)
    said = [record.message for record in caplog.records]
    assert len([line for line in said if "out of reach" in line]) == 1
    assert len([line for line in said if "in reach again" in line]) == 1
