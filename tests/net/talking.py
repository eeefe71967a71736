"""A callback that says what it heard, and a conversation with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.peer import Peer, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Turn


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield f"you said {turn.content}"


async def converse(url: str) -> None:
    async with Peer.connect(url) as peer:
        await peer.ask("hello")
        assert text_of(await peer.turn()) == "you said hello"
