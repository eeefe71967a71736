"""What the events of LangChain do not do: tell which models failed, and let one wait for a slow reader."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from langchain_core.callbacks import AsyncCallbackHandler

    from ..chat.events import Item
    from ..chat.turn import Turn


class Watch:
    """Over the models of one turn. `failed` holds the ids of their runs that failed.

    Events come through a queue without bounds, so that a model would run ahead of its reader without end. It waits at
    each of its tokens as long as an item of the turn waits for the reader.
    """

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._room.set()

    async def show(self, turn: Turn, item: Item) -> None:
        """The same as `turn.send`."""
        self._room.clear()
        try:
            await turn.send(item)
        finally:
            self._room.set()

    def handler(self) -> AsyncCallbackHandler:
        """What goes along with the configuration."""
        from langchain_core.callbacks import AsyncCallbackHandler

        failed, loop, room = self.failed, self._loop, self._room

        class Handler(AsyncCallbackHandler):
            async def on_llm_new_token(self, token: Any, **_: Any) -> None:
                # What blocks runs in a thread, with a loop of its own.
                if asyncio.get_running_loop() is loop:
                    await room.wait()

            async def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
                failed.add(str(run_id))

        return Handler()
