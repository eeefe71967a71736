"""The conversation of one connection as the authors of the Python peers would write it, orjson and all.

Every server that is measured does this work: the envelope of each token is made when its turn comes, and after each
token the loop gets control. Only the yardsticks write tokens that were made before.
"""

from __future__ import annotations

import asyncio
import secrets
from time import monotonic_ns
from typing import TYPE_CHECKING

import orjson

from bench.work import PACE, PACED_TOKENS, STAMP_WIDTH, TOKEN, TOKENS

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterator


def stamp() -> str:
    """The token of the work `paced`: the time now."""
    return f"{monotonic_ns():0{STAMP_WIDTH}d}"


class Chat:
    """One session: `pause` is what to sleep after each token of `answer`."""

    __slots__ = ("_paced", "_seq", "_session", "_turn", "pause")

    def __init__(self, work: str) -> None:
        self._paced = work == "paced"
        self._session = "s_" + secrets.token_urlsafe(16)
        self._turn = 0
        self._seq = 0
        self.pause = PACE if self._paced else 0

    def greeting(self) -> bytes:
        """The first frame of the connection."""
        return orjson.dumps({"event": "session", "data": {"resumed": False}, "session_id": self._session})

    def answer(self, message: bytes | str) -> Iterator[bytes]:
        """The tokens of the answer, each made when it is asked for."""
        assert orjson.loads(message)["content"]
        self._turn += 1
        dumps, session, turn, paced = orjson.dumps, self._session, self._turn, self._paced
        for _ in range(PACED_TOKENS if paced else TOKENS):
            self._seq += 1
            yield dumps(
                {
                    "event": "token",
                    "data": {"value": stamp() if paced else TOKEN},
                    "session_id": session,
                    "turn": turn,
                    "seq": self._seq,
                }
            )

    def final(self) -> bytes:
        """What follows the last token."""
        self._seq += 1
        return orjson.dumps(
            {
                "event": "complete",
                "data": {"final": True, "status": "completed"},
                "session_id": self._session,
                "turn": self._turn,
                "seq": self._seq,
            }
        )

    def pong(self, message: bytes | str | memoryview) -> bytes:
        """The answer to a `ping` event."""
        event = orjson.loads(message)
        assert event["event"] == "ping"
        return orjson.dumps({"event": "pong", "data": event["data"], "session_id": self._session})


async def converse(work: str, messages: AsyncIterable[str], send: Callable[[bytes], Awaitable[None]]) -> None:
    """Hold the conversation of a peer whose connections are coroutines; `send` sends a text frame."""
    chat = Chat(work)
    await send(chat.greeting())
    async for message in messages:
        if work == "echo":
            await send(chat.pong(message))
            continue
        for token in chat.answer(message):
            await send(token)
            await asyncio.sleep(chat.pause)
        await send(chat.final())
