"""A server as a process, which shares its sessions by a Redis: `python instance.py URL DURABILITY`.

What it answers to a question is known to whoever knows the question.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import TYPE_CHECKING

from wsserver import Config, Server, Source
from wsserver.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Item, Turn

#: A process that is killed is missed after so many seconds.
LEASE = 1.5


def tokens_of(question: str) -> list[str]:
    return [f"{question}:{number} " for number in range(random.Random(question).randrange(20, 60))]


async def generate(turn: Turn) -> AsyncIterator[Item]:
    question = str(turn.content)
    chance = random.Random(question)
    async with turn.tool("search", "looking …"):
        await asyncio.sleep(0.02)
    for token in tokens_of(question):
        yield token
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() * 0.06)
    yield Source(title=question)


async def main(url: str, durability: str) -> None:
    config = Config(
        port=0,
        redis=url,
        durability="strict" if durability == "strict" else "fast",
        max_connections_per_ip=0,
        handshake_rate=0,
        message_rate=0,
        resume_ttl=600,
    )
    async with Server(generate, config, store=RedisStore(url, lease=LEASE)) as server:
        sys.stdout.write(f"{server.urls[0]}\n")
        sys.stdout.flush()
        # It ends with whoever began it.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
