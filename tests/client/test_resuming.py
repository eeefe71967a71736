"""A chat with a real server over a network that fails again and again: in the end nothing shows it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Any

from tests.clock import run_virtually
from wsserver import Config, Reset, Server, Source
from wsserver.client import Event, connect

from .proxy import Fate, failing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Item, Turn
    from wsserver.client import Chat


class App:
    """Answers at length, and remembers what it said."""

    def __init__(self, chance: random.Random) -> None:
        self.runs: Counter[str] = Counter()
        self.said: dict[str, str] = {}
        self.heard: dict[str, Any] = {}
        self._chance = chance

    async def generate(self, turn: Turn) -> AsyncIterator[Item]:
        content, chance = str(turn.content), self._chance
        self.runs[content] += 1
        self.said[content] = ""
        async with turn.tool("search", "looking"):
            await asyncio.sleep(chance.random() / 10)
        for number in range(chance.randrange(150)):
            token = f"{turn.id}.{number}答 "
            self.said[content] += token
            yield token
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random() / 5)
            if chance.random() < 0.02:
                self.said[content] = ""
                yield Reset("answer")
        if chance.random() < 0.5:
            self.heard[content] = await turn.ask("is it so?", {"type": "integer"})
        yield Source("the book")


async def converse(chat: Chat, question: str) -> list[Event]:
    """All events of the answer; what it asks is answered with the length of the question."""
    events = []
    async for event in chat.ask(question):
        events.append(event)
        if event.name == "ask":
            await chat.answer(event.data["call_id"], len(question))
    return events


def shown(events: list[Event]) -> str:
    text = ""
    for event in events:
        if event.name == "token":
            text += event.data["value"]
        elif event.name == "reset":
            text = ""
    return text


def numbers(event: Event) -> range:
    assert event.seq is not None
    return range(event.data.get("from_seq", event.seq), event.seq + 1)


class TestFailingNetwork:
    def test_nothing_is_lost_and_nothing_comes_twice(self) -> None:
        results = [talk(random.Random(seed), 4000) for seed in range(3)]
        assert sum(losses for losses, _ in results) > 10
        assert not any(gaps for _, gaps in results)

    def test_with_holes_the_text_is_right_in_the_end(self) -> None:
        # A connection must live long enough for the history.
        results = [talk(random.Random(seed), 20_000, max_log_size=1500) for seed in range(3)]
        assert sum(losses for losses, _ in results) > 10
        assert sum(gaps for _, gaps in results) > 3


def talk(chance: random.Random, most: int, **settings: Any) -> tuple[int, int]:
    """Asks 12 questions, three at a time, on connections of at most `most` bytes.

    Returns how often one was lost, and how often events were missing then.
    """
    app = App(chance)
    fates = [Fate(inf, 1500)]
    questions = [f"{one} {'?' * chance.randrange(30)}" for one in range(12)]
    rest: list[Event] = []

    def fate() -> Fate:
        if fates:
            return fates.pop()
        up = chance.choice([inf, chance.randrange(2000)])
        return Fate(up, chance.randrange(most), silent=chance.random() < 0.2)

    async def ask(chat: Chat, mine: list[str]) -> list[list[Event]]:
        return [await converse(chat, question) for question in mine]

    async def listen(chat: Chat) -> None:
        rest.extend([event async for event in chat.events()])

    async def main() -> list[list[list[Event]]]:
        # The server looks its address up in a thread: a clock that is virtual must not have a deadline before that.
        async with (
            Server(app.generate, Config(port=0, resume_ttl=3600, **settings)) as server,
            asyncio.timeout(3600),
            failing(server.urls[0], fate) as url,
            connect(url, reconnect=True) as chat,
        ):
            listening = asyncio.create_task(listen(chat))
            answers = await asyncio.gather(*(ask(chat, questions[first::3]) for first in range(3)))
            await chat.close()
            await listening
            return answers

    answers = run_virtually(main())
    for first, some in enumerate(answers):
        for question, events in zip(questions[first::3], some, strict=True):
            assert shown(events) == app.said[question]
            assert [event.final for event in events] == [False] * (len(events) - 1) + [True]
            assert (events[-1].name, events[-1].data["status"]) == ("complete", "completed")
    assert app.runs == Counter(questions)
    assert app.heard == {question: len(question) for question in app.heard}
    everything = [event for some in answers for events in some for event in events]
    seen = [number for event in everything if event.seq is not None for number in numbers(event)]
    assert len(seen) == len(set(seen))
    names = Counter(event.name for event in rest)
    if not names["gap"]:
        assert sorted(seen) == list(range(1, len(seen) + 1))
    assert set(names) <= {"reconnecting", "session", "gap"}
    return names["reconnecting"], names["gap"]
