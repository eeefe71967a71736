"""Turns of chains and graphs, as the person sees them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document

from tests.adapters.running import run
from tests.peer import Event, Peer
from wsserver import Config, Server
from wsserver.adapters.langchain import callback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver.adapters.langchain import Chain

TEA = Document("Water must boil.", metadata={"source": "https://tea.example/a", "title": "Tea", "score": "0.5"})
SOUP = Document("Soup needs salt.", metadata={"source": "soup.md", "score": "much"})


@asynccontextmanager
async def chatting(chain: Chain, **settings: Any) -> AsyncIterator[Peer]:
    async with Server(chain, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]) as peer:
        yield peer


def ask(runnable: Any, content: Any = "hello", settings: Any = None, **options: Any) -> list[Event]:
    """All events of one turn."""

    async def main() -> list[Event]:
        async with chatting(callback(runnable, **options), **(settings or {})) as peer:
            await peer.ask(content)
            return await peer.turn()

    return run(main())  # type: ignore[no-any-return]


def names(events: list[Event]) -> list[str]:
    return [event["event"] for event in events]


def tokens(events: list[Event]) -> list[str]:
    return [event["data"]["value"] for event in events if event["event"] == "token"]


def data(events: list[Event], name: str) -> list[Any]:
    return [event["data"] for event in events if event["event"] == name]
