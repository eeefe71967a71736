"""Hundreds of conversations at once on a network that cuts, delays and splits: what each client holds in the end.

All chance comes from one seed, and time is virtual: a run is the same run again. One fate of a connection in five is a
silent death, the others are resets after so many bytes, of the client's as often as of the server's: also right behind
a message, before its `ack`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack, suppress
from math import inf
from typing import TYPE_CHECKING, Any

from tests.client.proxy import Fate, failing
from wsserver import Config, Server, Source, Turn
from wsserver.client import ConnectError, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Item
    from wsserver.client import Chat, Event


#: Limits are for others to try.
SETTINGS: dict[str, Any] = {
    "resume_ttl": 3600,
    "max_connections_per_ip": 0,
    "handshake_rate": 0,
    "message_rate": 0,
}


class Storm:
    """`sessions` clients ask `questions` each. `cuts` counts the connections that were lost."""

    def __init__(self, seed: int, sessions: int, questions: int) -> None:
        self.chance = random.Random(seed)
        self.sessions = sessions
        self.questions = questions
        self.cuts = 0
        self.said: dict[str, str] = {}  # what the callback produced, by question
        self.runs: Counter[str] = Counter()
        self.pushed: Counter[str] = Counter()

    async def run(self, **settings: Any) -> None:
        """Raises `AssertionError` where a client holds anything but what was generated."""
        async with Server(self.generate, Config(port=0, **SETTINGS, **settings)) as server:
            await self.blow([server])

    async def blow(self, servers: list[Server]) -> None:
        """The same with servers that run, and share their sessions: each connection leads to one of them."""
        way = failing(lambda: self.chance.choice(servers).urls[0], self.fate)
        async with way as url, asyncio.timeout(24 * 3600):
            await asyncio.gather(*(self.converse(servers, url, number) for number in range(self.sessions)))
            for server in servers:
                await server.turns.all_ended()

    def fate(self) -> Fate:
        """What becomes of the next connection."""
        chance = self.chance
        up = chance.choice([inf, inf, chance.randrange(100, 800)])
        piece, delay = chance.choice([(7, 0.0), (100, 0.0), (2**12, 0.0), (2**12, 0.2)])
        return Fate(up, chance.randrange(200, 6000), silent=chance.random() < 0.2, piece=piece, delay=delay)

    async def generate(self, turn: Turn) -> AsyncIterator[Item]:
        """Says something of its own for each question, at its own pace, with a tool, a question and a source."""
        chance, question = self.chance, str(turn.content)
        self.runs[question] += 1
        text = ""
        async with turn.tool("search", "looking …") as tool:
            await self.pause()
            tool.finish("found")
        for number in range(chance.randrange(1, 80)):
            token = f"{question}:{number} "
            text += token
            yield token
            if chance.random() < 0.1:
                await self.pause()
        if chance.random() < 0.2:
            answer = await turn.ask("Go on?", {"type": "integer"})
            text += f"[{answer}]"
            yield f"[{answer}]"
        yield Source(title=question)
        self.said[question] = text

    async def pause(self) -> None:
        """Some time in which others go on; of few lengths: to move the clock takes real time, each time."""
        await asyncio.sleep(self.chance.randrange(1, 4))

    async def converse(self, servers: list[Server], url: str, number: int) -> None:
        """One client: all it asked, every event of it, in order, once."""
        async with AsyncExitStack() as stack:
            chat = await patiently(url, stack)
            listening = asyncio.create_task(listen(chat))
            everything: list[Event] = []
            for place in range(self.questions):
                question = f"q{number}.{place}"
                events = [event async for event in self.ask(chat, question)]
                assert shown(events) == self.said[question]
                assert [event.name for event in events if event.final] == ["complete"]
                assert events[-1].data["status"] == "completed"
                assert self.runs[question] == 1
                everything += events
                if self.chance.random() < 0.3:
                    assert chat.session_id is not None
                    await self.chance.choice(servers).push(chat.session_id, "note", {"text": question})
                    self.pushed[chat.session_id] += 1
            await chat.history()
            session_id = str(chat.session_id)  # where `end` has to be said again, there is none to come back to
            await chat.end()
            rest = await listening
            notes = [event for event in rest if event.name == "note"]
            everything += notes
            assert len(notes) == self.pushed[session_id]
            self.cuts += sum(event.name == "reconnecting" for event in rest)
        seen = sorted(seq for event in everything for seq in numbers(event))
        assert seen == list(range(1, len(seen) + 1)), "every event once"

    async def ask(self, chat: Chat, question: str) -> AsyncIterator[Event]:
        async for event in chat.ask(question):
            yield event
            if event.name == "ask":
                await chat.answer(event.data["call_id"], 7)


async def patiently(url: str, stack: AsyncExitStack) -> Chat:
    """A chat; a first connection that fails is the program's own to try again."""
    while True:
        with suppress(ConnectError):
            return await stack.enter_async_context(connect(url, reconnect=True))


async def listen(chat: Chat) -> list[Event]:
    """All that belongs to no question, to the end."""
    return [event async for event in chat.events()]


def shown(events: list[Event]) -> str:
    """The answer as a person has read it."""
    return "".join(event.data["value"] for event in events if event.name == "token")


def numbers(event: Event) -> range:
    """Of an event, or of those that were merged into it."""
    return range(event.data.get("from_seq", event.seq), event.seq + 1) if event.seq is not None else range(0)
