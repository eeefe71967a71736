"""Turns of a model at an endpoint on the loopback, in real time: it must be able to be slow."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI

from tests.adapters.endpoint import KEY, Endpoint
from tests.adapters.running import LONG, run
from tests.peer import Event, Peer
from wsserver import Config, Server
from wsserver.adapters.openai import callback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.adapters.endpoint import Step


@asynccontextmanager
async def chatting(
    endpoint: Endpoint, *, patience: float = LONG, max_retries: int = 2, settings: Any = None, **options: Any
) -> AsyncIterator[Peer]:
    """A person who talks with the model of the endpoint."""
    client = AsyncOpenAI(base_url=endpoint.url, api_key=KEY, timeout=patience, max_retries=max_retries)
    generate = callback(**{"client": client, **options})
    async with client, Server(generate, Config(port=0, **(settings or {}))) as server:
        async with Peer.connect(server.urls[0]) as peer:
            yield peer


def ask(*script: Step, content: Any = "hello", **more: Any) -> tuple[list[Event], list[dict[str, Any]]]:
    """All events of one turn, and the bodies of the requests that it made."""

    async def main() -> tuple[list[Event], list[dict[str, Any]]]:
        async with Endpoint.serve(*script) as endpoint, chatting(endpoint, **more) as peer:
            await peer.ask(content)
            return await peer.turn(), endpoint.bodies

    return run(main())  # type: ignore[no-any-return]


def error_of(events: list[Event]) -> tuple[str, bool]:
    assert events[-1]["event"] == "error"
    return events[-1]["data"]["code"], events[-1]["data"]["retryable"]


def weather(city: str) -> str:
    return f"Sun in {city}"
