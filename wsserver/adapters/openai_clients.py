"""The clients through which a model is asked: one that was given, or one of our own for each loop.

The connections of a client belong to one loop, and those that wait for the next request must be closed before it is: a
loop that is closed over them fails.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from openai import AsyncOpenAI


class Clients(Protocol):
    """Where the client for the running loop comes from."""

    @property
    def base_url(self) -> str:
        """Whom it asks."""

    async def get(self) -> AsyncOpenAI:
        """The client."""


class Given:
    """Always the same, closed by whoever made it."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self.base_url = str(client.base_url)
        self._client = client

    async def get(self) -> AsyncOpenAI:
        return self._client


class Made:
    """One for each loop, which closes it at its end."""

    def __init__(self) -> None:
        """Raises `ConfigError` where none can be made."""
        self._next: AsyncOpenAI | None = _make()  # for the first loop
        self.base_url = str(self._next.base_url)
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()
        self._keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = WeakKeyDictionary()

    async def get(self) -> AsyncOpenAI:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client, self._next = self._next or _make(), None
            self._clients[loop] = client
            # A loop ends by closing the generators that have begun on it (`loop.shutdown_asyncgens`).
            self._keepers[loop] = keeper = _keep(client)
            await anext(keeper)
        return client


async def _keep(client: AsyncOpenAI) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.close()


def _make() -> AsyncOpenAI:
    """By the variables of the environment. Raises `ConfigError`."""
    try:
        import openai
    except ImportError as exc:
        raise ConfigError("a model is asked through the package openai: pip install 'wsserver[openai]'") from exc
    # Endpoints of one's own mostly want no key, but the client does.
    key = os.environ.get("OPENAI_API_KEY") or ("none" if os.environ.get("OPENAI_BASE_URL") else None)
    try:
        return openai.AsyncOpenAI(api_key=key)
    except openai.OpenAIError as exc:
        raise ConfigError(f"the client of the model cannot be made: {exc}") from exc
