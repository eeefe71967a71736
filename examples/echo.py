"""The smallest callback: `wsserver serve examples.echo:generate`."""

from collections.abc import AsyncIterator

from wsserver import Turn


async def generate(turn: Turn) -> AsyncIterator[str]:
    yield f"You said {turn.content}"
