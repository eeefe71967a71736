"""A coroutine in real time: threads and models take part, which a clock that jumps would overtake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

#: Seconds: more than anything here takes, so that what hangs fails.
LONG = 20


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(LONG):
            return await main

    return asyncio.run(within())
