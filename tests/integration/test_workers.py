"""Several processes on one port: deaths, rolls and ends of real ones, under load."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.fleet import ask, fleet, spread
from tests.peer import Peer, request
from tests.store.redis_server import RedisServer
from wsserver.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver.client import Chat, Event

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers share one socket, or cannot be")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def children(pid: int) -> list[int]:
    """Zombies too."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def waiting(stack: AsyncExitStack, url: str, others: set[int]) -> list[Peer]:
    """Connections that nobody has accepted: their worker is stopped, the `others` go on."""
    unanswered: list[Peer] = []
    for _ in range(60):
        peer = await stack.enter_async_context(Peer.socket(url))
        await peer.write(request())
        try:
            async with asyncio.timeout(0.3):
                await peer.read_head()
            assert (await peer.event("session")) and (await ask(peer))[1] in others
        except TimeoutError:
            unanswered.append(peer)
            if len(unanswered) == 3:
                break
    return unanswered


class TestDeath:
    def test_others_go_on_and_what_waited_is_served_by_the_successor(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2") as it, AsyncExitStack() as stack:
                [dead, other] = (await it.pids(2)).values()
                before = descriptors(it.process.pid)
                peers = await spread(stack, it.url, 2)
                assert set(peers) == {dead, other}
                os.kill(dead, signal.SIGSTOP)
                queued = await waiting(stack, it.url, {other})
                assert len(queued) == 3
                running = asyncio.create_task(ask(peers[other][0], 1))
                os.kill(dead, signal.SIGKILL)
                assert await peers[dead][0].gone() == b""
                await it.said(rf"worker \d \(process {dead}\) was killed by SIGKILL; starting another one at once")
                for peer in queued:
                    async with asyncio.timeout(10):
                        await peer.read_head()
                        await peer.event("session")
                        assert (await ask(peer))[1] not in (dead, other)
                assert await running == ("one", other)
                assert len(children(it.process.pid)) == 2, "and no zombie"
                assert descriptors(it.process.pid) == before

        asyncio.run(main())

    def test_as_long_as_there_is_no_successor_the_others_help(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2") as it, AsyncExitStack() as stack:
                [dead, other] = (await it.pids(2)).values()
                it.deploy("", "import time\ntime.sleep(60)")
                os.kill(dead, signal.SIGKILL)
                await it.said("starting another one at once")
                # With this many, some come to the socket of the dead one.
                peers = [await stack.enter_async_context(Peer.socket(it.url)) for _ in range(20)]
                async with asyncio.timeout(10):
                    for peer in peers:
                        await peer.write(request())
                        await peer.read_head()
                        await peer.event("session")
                        assert (await ask(peer))[1] == other

        asyncio.run(main())

    @pytest.mark.soak
    def test_with_redis_its_sessions_are_taken_over(self, tmp_path: Path) -> None:
        """Once it is sure that it is dead: its lease has run out. What it was answering is lost, and said to be."""

        async def main(redis: str) -> None:
            flags = ("--workers", "2", "--redis", redis, "--resume-ttl", "60")
            async with fleet(tmp_path, *flags) as it, connect(it.url, reconnect=True) as chat:
                name = chat.session_id
                [*_, token, _] = [event async for event in chat.ask(0)]
                dead = int(token.data["value"])
                answer = [event async for event in _killed_meanwhile(chat.ask(5), dead)]
                assert (answer[-1].name, answer[-1].data["code"]) == ("error", "turn_lost")
                [*_, token, _] = [event async for event in chat.ask(0)]
                assert int(token.data["value"]) != dead
                assert chat.session_id == name

        with RedisServer(tmp_path) as redis:
            asyncio.run(main(redis.url))


async def _killed_meanwhile(answer: AsyncIterator[Event], pid: int) -> AsyncIterator[Event]:
    """The process that answers dies after the first token."""
    async for event in answer:
        yield event
        if event.name == "token":
            os.kill(pid, signal.SIGKILL)


class TestRoll:
    def test_under_load_nobody_is_refused_and_no_answer_is_cut(self, tmp_path: Path) -> None:
        """Clients that come back by themselves, and others that come and go; each answer is whole."""

        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2", "--drain-timeout", "20") as it:
                old = set((await it.pids(2)).values())
                versions: list[str] = []
                under_way, rolled = asyncio.Event(), asyncio.Event()

                async def converse() -> None:
                    async with connect(it.url, reconnect=True) as chat:
                        last = False
                        while not last:
                            last = rolled.is_set()
                            answer = [event async for event in chat.ask(0.05)]
                            assert answer[-1].name == "complete", answer
                            versions.append(answer[1].data["value"])
                            if len(versions) == 16:
                                under_way.set()

                async def come_and_go() -> None:
                    while not rolled.is_set():
                        async with Peer.connect(it.url) as peer:
                            await peer.event() if peer.session["data"]["resumed"] else None

                async def be_long() -> None:
                    """An answer that takes longer than all but the drain."""
                    async with Peer.connect(it.url) as peer:
                        await peer.ask(1.5)
                        events = await peer.turn()
                        assert [event["event"] for event in events if event["event"] != "drain"] == [
                            "start",
                            "token",
                            "token",
                            "complete",
                        ]
                        assert int(events[-2]["data"]["value"]) in old

                async with asyncio.TaskGroup() as group:
                    for _ in range(8):
                        group.create_task(converse())
                    group.create_task(come_and_go())
                    long = [group.create_task(be_long()) for _ in range(4)]
                    await under_way.wait()
                    it.deploy("two")
                    it.signal(signal.SIGHUP)
                    await asyncio.wait(long)
                    await it.said("all workers have been replaced")
                    versions.clear()
                    rolled.set()
                assert set(versions) == {"two "}
                assert not old & set(children(it.process.pid))

        asyncio.run(main())

    def test_with_redis_sessions_outlive_it(self, tmp_path: Path) -> None:
        """Each client goes on in its session, in another worker, as after any loss."""

        async def main(redis: str) -> None:
            flags = ("--workers", "2", "--redis", redis, "--resume-ttl", "60")
            async with fleet(tmp_path, *flags) as it, AsyncExitStack() as stack:
                old = set((await it.pids(2)).values())
                chats = [await stack.enter_async_context(connect(it.url, reconnect=True)) for _ in range(8)]
                names = [chat.session_id for chat in chats]
                for chat in chats:
                    assert await _version(chat) == "one "
                it.deploy("two")
                it.signal(signal.SIGHUP)
                during = await asyncio.gather(*map(_version, chats))
                await it.said("all workers have been replaced")
                assert not old & set(children(it.process.pid))
                assert set(during) <= {"one ", "two "}
                for chat, name in zip(chats, names, strict=True):
                    assert await _version(chat) == "two "
                    assert chat.session_id == name
                    assert [said["content"] for said in (await chat.history())["items"]][::2] == [0.05] * 3
                    await chat.end()

        with RedisServer(tmp_path) as redis:
            asyncio.run(main(redis.url))

    def test_what_does_not_start_replaces_nobody(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2") as it:
                old = await it.pids(2)
                it.deploy("", "import nothing_of_that_name")
                it.signal(signal.SIGHUP)
                await it.said(r"worker 0 \(process \d+\) ended with status 2 before it served anybody: the old workers")
                await it.said("'app:generate' cannot be imported: ModuleNotFoundError")
                assert sorted(children(it.process.pid)) == sorted(old.values())
                # One that hangs in its start gives way to what comes then.
                it.deploy("", "import time\ntime.sleep(60)")
                it.signal(signal.SIGHUP)
                await it.said("replacing all workers", 2)
                it.deploy("three")
                it.signal(signal.SIGHUP)
                await it.said("all workers have been replaced")
                async with Peer.connect(it.url) as peer:
                    assert (await ask(peer))[0] == "three"
                it.log = it.log.replace("ERROR", "")

        asyncio.run(main())


class TestEnd:
    def test_all_run_empty_however_often_all_are_told(self, tmp_path: Path) -> None:
        """As systemd does it, which tells each process of the unit; a terminal tells only the first."""

        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2") as it, AsyncExitStack() as stack:
                pids = set((await it.pids(2)).values())
                assert all(os.getsid(pid) == pid != os.getsid(it.process.pid) for pid in pids)
                peers = await spread(stack, it.url, 2)
                answers = [asyncio.create_task(_last(peer, 0.5)) for [peer, *_] in peers.values()]
                await asyncio.sleep(0.1)
                it.signal(signal.SIGTERM)
                await it.said("shutting down once all answers", 2)
                for pid in pids:
                    os.kill(pid, signal.SIGTERM)
                assert {await answer for answer in answers} == pids
                assert await it.ended() == 0
                for pid in pids:
                    with pytest.raises(ProcessLookupError):
                        os.kill(pid, 0)

        asyncio.run(main())

    def test_a_second_one_cuts(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2", "--drain-timeout", "60") as it, AsyncExitStack() as stack:
                peers = await spread(stack, it.url, 2)
                for [peer, *_] in peers.values():
                    await peer.ask(60)
                    await peer.event("start")
                    await peer.event("token")
                it.signal(signal.SIGINT)
                await it.said("shutting down once all answers", 2)
                with pytest.raises(ConnectionRefusedError):
                    async with Peer.socket(it.url) as late:
                        await late.gone()
                        raise ConnectionRefusedError
                it.signal(signal.SIGINT)
                for [peer, *_] in peers.values():
                    *_, final = await peer.turn()
                    assert final["data"]["code"] == "server_shutdown"
                assert await it.ended() == 0

        asyncio.run(main())

    def test_workers_end_with_their_supervisor(self, tmp_path: Path) -> None:
        """In order: what runs is completed."""

        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2") as it, Peer.connect(it.url) as peer:
                pids = await it.pids(2)
                answer = asyncio.create_task(_last(peer, 0.5))
                await asyncio.sleep(0.1)
                it.process.kill()
                assert await answer in pids.values()
                assert await it.ended() == -signal.SIGKILL

        asyncio.run(main())

    def test_one_that_is_told_to_end_has_a_successor_at_once(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with fleet(tmp_path, "--workers", "2") as it, AsyncExitStack() as stack:
                pids = set((await it.pids(2)).values())
                peers = await spread(stack, it.url, 2)
                told = min(pids)
                answer = asyncio.create_task(_last(peers[told][0], 1.5))
                await asyncio.sleep(0.1)
                os.kill(told, signal.SIGTERM)
                assert set((await it.pids(3)).values()) - pids
                assert not answer.done()
                assert await answer == told

        asyncio.run(main())


async def _version(chat: Chat) -> str:
    """Of the application that gives a complete answer."""
    answer = [event async for event in chat.ask(0.05)]
    assert [event.name for event in answer][-1] == "complete", answer
    return "".join(event.data["value"] for event in answer if event.name == "token").partition(" ")[0] + " "


async def _last(peer: Peer, seconds: float) -> int:
    """The process that answers completely, though it ends."""
    await peer.ask(seconds)
    events = [event for event in await peer.turn() if event["event"] != "drain"]
    assert [event["event"] for event in events] == ["start", "token", "token", "complete"], events
    assert (await peer.closed())[0] == 1012
    return int(events[2]["data"]["value"])
