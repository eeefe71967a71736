"""A step of work and a question to the person: `wsserver serve examples.ask:generate`."""

import asyncio
from collections.abc import AsyncIterator

from wsserver import Turn


async def days_on_its_way(order: int) -> int:
    await asyncio.sleep(0.5)  # your database
    return 9


async def generate(turn: Turn) -> AsyncIterator[str]:
    async with turn.tool("orders", "looking up your order …", input={"order": 1138}) as tool:
        days = await days_on_its_way(1138)
        tool.finish(f"left us {days} days ago", output={"days": days})
    if days <= 5:
        yield "Your order is on its way."
        return
    yield f"Your order left us {days} days ago, it is late. "
    if await turn.ask("Shall I complain to the carrier?", {"type": "boolean"}):
        turn.session.state["complaints"] = turn.session.state.get("complaints", 0) + 1
        yield "I have complained, and shall tell you what they say."
    else:
        yield "Then let us wait for another day."
