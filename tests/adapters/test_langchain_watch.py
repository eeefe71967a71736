"""A model waits for its reader."""

from __future__ import annotations

import asyncio

from langchain_core.output_parsers import StrOutputParser

from tests.adapters.langchain_talking import chatting
from tests.adapters.running import run
from tests.adapters.scripted import Scripted, says
from tests.peer import text_of
from wsserver.adapters.langchain import callback


def test_a_model_waits_for_a_slow_reader() -> None:
    """While nobody reads, the model says no more than the buffers hold."""

    async def main() -> None:
        size = 200
        model = Scripted(script=[says(*["x" * 2**15] * size)])
        async with chatting(callback(model | StrOutputParser())) as peer:
            await peer.ask("hello")
            seen = [0, 0]
            # Nothing tells that it stands still but that it does.
            while len(set(seen[-3:])) > 1 or not seen[-1]:
                await asyncio.sleep(0.05)
                seen.append(model.said)
            assert seen[-1] < size / 2
            assert len(text_of(await peer.turn())) == size * 2**15
            assert model.said == size

    run(main())
