"""A storm in which servers die, stand still and lose their store: what a client holds is right, or it was told.

How many answers are lost is chance; but once the servers are left alone, each client gets a whole one again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from tests.chaos.storm import Storm, listen, patiently
from tests.client.proxy import failing
from tests.net.instances import LEASE
from wsserver.client import ConnectionLost, RequestRefused, SessionLost
from wsserver.client.events import decode
from wsserver.client.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    import pytest

    from tests.net.instances import Instances
    from wsserver import Item, Server, Turn
    from wsserver.client import Chat, Event

    Line = tuple[Chat, asyncio.Task[list[Event]]]
    Strike = Callable[[], Coroutine[Any, Any, None]]


class Tempest(Storm):
    """`told` counts what clients were told of: turns that were lost, sessions that were forgotten, holes."""

    def __init__(self, seed: int, sessions: int, questions: int) -> None:
        super().__init__(seed, sessions, questions)
        self.generated: dict[tuple[str | None, str], str] = {}  # texts, by session and question
        self.told: Counter[str] = Counter()
        self.whole = 0  # answers that came to their end
        self.strikes = 0
        self.talking = sessions  # clients that have not asked everything
        self.calm = asyncio.Event()

    async def rage(self, instances: Instances, servers: list[Server], *strikes: str) -> None:
        """Runs all conversations; until everything was asked, one of these befalls the servers every few seconds."""
        way = failing(lambda: self.chance.choice(servers).urls[0], self.fate)
        async with way as url, asyncio.timeout(24 * 3600):
            striking = asyncio.create_task(self._strike(instances, servers, strikes))
            try:
                async with asyncio.TaskGroup() as group:
                    for number in range(self.sessions):
                        group.create_task(self.converse(servers, url, number))
            finally:
                striking.cancel()
                await asyncio.gather(striking, return_exceptions=True)
                for server in servers:
                    instances.ways[server].closed = False
                    instances.go_on(server)

    async def _strike(self, instances: Instances, servers: list[Server], strikes: tuple[str, ...]) -> None:
        table: dict[str, Callable[[Instances, list[Server]], Coroutine[Any, Any, None]]] = {
            "kill": self.kill,
            "pause": self.stand_still,
            "cut off": self.cut_off,
            "outage": self.outage,
            "roll": self.roll,
        }
        while self.talking:
            await asyncio.sleep(self.chance.randrange(3, 12))
            self.strikes += 1
            await table[self.chance.choice(strikes)](instances, servers)
        # Until all know who lives, and that the store is in reach.
        await asyncio.sleep(3 * LEASE)
        self.calm.set()

    async def kill(self, instances: Instances, servers: list[Server]) -> None:
        """One is killed, and started anew a little later."""
        place = self.chance.randrange(len(servers))
        instances.kill(servers[place])
        await asyncio.sleep(1)
        servers[place] = await instances.start()

    async def stand_still(self, instances: Instances, servers: list[Server]) -> None:
        """One stands still, for longer than its lease."""
        server = self.chance.choice(servers)
        instances.pause(server)
        await asyncio.sleep(2 * LEASE)
        instances.go_on(server)

    async def cut_off(self, instances: Instances, servers: list[Server]) -> None:
        """One does not reach the store."""
        way = instances.ways[self.chance.choice(servers)]
        way.closed = True
        await asyncio.sleep(self.chance.choice([0.05, 2.0, 2 * LEASE]))
        way.closed = False

    async def outage(self, instances: Instances, servers: list[Server]) -> None:
        """Nobody does."""
        for server in servers:
            instances.ways[server].closed = True
        await asyncio.sleep(10)
        for server in servers:
            instances.ways[server].closed = False

    async def roll(self, instances: Instances, servers: list[Server]) -> None:
        """One runs empty, and another one takes its place."""
        place = self.chance.randrange(len(servers))
        older, servers[place] = servers[place], await instances.start()
        await older.drain()

    async def generate(self, turn: Turn) -> AsyncIterator[Item]:
        # Who is sent away without its session says the same again in another one.
        key = turn.session.id, str(turn.content)
        self.generated[key] = ""
        async for item in super().generate(turn):
            if isinstance(item, str):
                self.generated[key] += item
            yield item

    async def converse(self, servers: list[Server], url: str, number: int) -> None:
        async with AsyncExitStack() as stack:
            line = await dial(url, stack)
            for place in range(self.questions):
                line, _ = await self.attempt(line, f"q{number}.{place}", url, stack)
            self.talking -= 1
            await self.calm.wait()
            line, whole = await self.attempt(line, f"q{number}.calm", url, stack)
            if not whole:
                # A connection of the time before may have been told that it cannot come back.
                line, whole = await self.attempt(line, f"q{number}.again", url, stack)
            assert whole
            chat, listening = line
            with suppress(ConnectionLost):
                await chat.end()
            rest = await asyncio.gather(listening, return_exceptions=True)
            if isinstance(rest[0], list):
                self.cuts += sum(event.name == "reconnecting" for event in rest[0])

    async def attempt(self, line: Line, question: str, url: str, stack: AsyncExitStack) -> tuple[Line, bool]:
        """Asks one thing; whether the answer is whole, and the chat to go on with, which may be another one."""
        chat, listening = line
        session_id, whole = chat.session_id, False
        try:
            whole = await self.question(chat, question)
        except SessionLost:
            self.told["forgotten"] += 1
        except ConnectionLost:
            # It may not come back: it was told that it could not.
            self.told["cut"] += 1
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            line = await dial(url, stack)
        # What was not acknowledged is said again in a new session, too.
        assert self.runs[question] <= 1 or line[0].session_id != session_id
        return line, whole

    async def question(self, chat: Chat, question: str) -> bool:
        """Whether the answer is whole; else the client was told why not."""
        text, end = "", None
        async for event in self.ask(chat, question):
            if event.name == "token":
                text += event.data["value"]
            elif event.name == "reset":
                text = ""
            elif event.name == "gap":
                self.told["gap"] += 1
            if event.final:
                end = event
        assert end is not None
        generated = self.generated.get((chat.session_id, question), "")
        if end.name == "complete":
            assert end.data["status"] == "completed"
            assert text == generated
            self.whole += 1
            return True
        # Behind a hole it is the history that tells.
        assert end.data["code"] in ("turn_lost", "generation_failed", "server_shutdown"), end
        assert generated.startswith(text)
        self.told[end.data["code"]] += 1
        return False

    async def ask(self, chat: Chat, question: str) -> AsyncIterator[Event]:
        async for event in chat.ask(question):
            yield event
            if event.name == "ask":
                with suppress(RequestRefused):
                    await chat.answer(event.data["call_id"], 7)


async def dial(url: str, stack: AsyncExitStack) -> Line:
    """A new chat, and what listens to it."""
    chat = await patiently(url, stack)
    return chat, asyncio.create_task(listen(chat))


def watch_numbers(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str | None, int, int]]:
    """From now on no client may be sent a number twice in an epoch; returns how often each was."""
    seen: Counter[tuple[str | None, int, int]] = Counter()
    received = Keeper.received

    def watch(keeper: Keeper, text: str) -> None:
        received(keeper, text)
        event = decode(text)
        if event.seq is not None:
            conversation = keeper.conversation
            epoch = conversation.session["epoch"]
            for seq in range(event.data.get("from_seq", event.seq), event.seq + 1):
                seen[conversation.session_id, epoch, seq] += 1

    monkeypatch.setattr(Keeper, "received", watch)
    return seen
