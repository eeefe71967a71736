"""The text of a turn, of several models."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda

from tests.adapters.langchain_talking import ask, names, tokens
from tests.adapters.scripted import HANGS, Scripted, says
from tests.peer import text_of


def test_of_models_one_after_another() -> None:
    chain = Scripted(script=[says("One.")]) | StrOutputParser() | Scripted(script=[says("Two.")])
    assert text_of(ask(chain)) == "One.\n\nTwo."


def test_of_models_beside_one_another() -> None:
    first, second = Scripted(script=[says("a", HANGS, "a")]), Scripted(script=[says("b", "b")])

    async def both(given: Any) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(first.ainvoke(given))
            await first.hanging.wait()
            await second.ainvoke(given)
            first.released.set()

    events = ask(RunnableLambda(both))
    assert tokens(events) == ["a", "a", "\n\nbb"]


def test_what_a_model_said_before_it_failed_is_void() -> None:
    broken = Scripted(script=[OSError("Hel", "lx")])
    model = Scripted(script=[says("Hello")])
    first = Scripted(script=[says("Well.")])

    async def again(given: Any) -> Any:
        await first.ainvoke(given)
        return await broken.with_fallbacks([model]).ainvoke(given)

    events = ask(RunnableLambda(again))
    assert names(events) == ["start", *["token"] * 3, "reset", *["token"] * 2, "complete"]
    assert tokens(events) == ["Well.", "\n\nHel", "lx", "Well.", "\n\nHello"]
