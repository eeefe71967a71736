"""The smallest callback with a tool step: `wsserver serve examples.hello:generate`."""

import asyncio
from collections.abc import AsyncIterator

from wsserver import Turn


async def generate(turn: Turn) -> AsyncIterator[str]:
    async with turn.tool("clock", "counting your words …") as tool:
        words = str(turn.content).split()
        tool.finish(f"{len(words)} words", output=len(words))
    for word in words:
        yield f"{word} "
        await asyncio.sleep(0.05)
