"""The applications our server runs while it is measured."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bench.chat import stamp
from bench.work import PACE, PACED_TOKENS, TOKEN, TOKENS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def generate(turn: Any) -> AsyncIterator[str]:
    """Answer any message with `TOKENS` tokens, giving the loop back after each, as a model's stream would."""
    for _ in range(TOKENS):
        yield TOKEN
        await asyncio.sleep(0)


async def paced(turn: Any) -> AsyncIterator[str]:
    """Answer with the time of each token, one in `PACE` seconds."""
    for _ in range(PACED_TOKENS):
        yield stamp()
        await asyncio.sleep(PACE)
