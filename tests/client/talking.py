"""What the tests of the client share: a callback, a conversation with it, and a bound for every test."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from wsserver import Config, Server, TurnError
from wsserver.client import Chat, Event, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from wsserver import Turn

#: Seconds after which a test that waits has failed.
PATIENCE = 20


def run(test: Awaitable[object]) -> None:
    """Runs a test to its end, which must come."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await test

    asyncio.run(bounded())


class App:
    """A callback that answers as its question says."""

    def __init__(self) -> None:
        self.hung = asyncio.Event()  # one of its answers waits for its end

    async def generate(self, turn: Turn) -> AsyncIterator[str]:
        if turn.content == "hang":
            yield "so far"
            self.hung.set()
            await asyncio.Event().wait()
        if turn.content == "ask":
            yield f"{await turn.ask('how many?', {'type': 'integer'})}"
            return
        if turn.content == "fail":
            raise TurnError("no_luck", "it did not work", retryable=True)
        for word in str(turn.content).split():
            yield word


@asynccontextmanager
async def talking(**settings: Any) -> AsyncIterator[tuple[Server, App, Chat]]:
    app = App()
    async with Server(app.generate, Config(port=0, **settings)) as server, connect(server.urls[0]) as chat:
        yield server, app, chat


async def text_of(chat: Chat, question: str) -> str:
    return "".join([event.data["value"] async for event in chat.ask(question) if event.name == "token"])


async def events_of(chat: Chat, question: Any) -> list[Event]:
    return [event async for event in chat.ask(question)]


async def first_event(url: str, **settings: Any) -> dict[str, Any]:
    async with connect(url, **settings) as chat:
        return chat.session
