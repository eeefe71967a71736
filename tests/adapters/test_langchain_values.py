"""What messages and documents of the real library hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableGenerator, RunnablePassthrough

from tests.adapters.langchain_talking import SOUP, TEA, ask, data, names
from tests.adapters.scripted import Library, Scripted, says
from tests.peer import text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_blocks_and_thoughts() -> None:
    blocks: Any = [
        [{"type": "reasoning", "text": None, "summary": []}],
        [{"type": "thinking", "thinking": "Hm."}],
        [{"type": "text", "text": "So"}, {"type": "image", "url": "x"}],
        [{"type": "thinking", "thinking": "Well."}],
        [{"type": "text", "text": " be it"}, "."],
    ]

    async def parts(given: Any) -> AsyncIterator[Any]:
        async for _ in given:
            for block in blocks:
                yield AIMessageChunk(content=block)

    model = Scripted(script=[AIMessage("", additional_kwargs={"parts": blocks})])
    events = ask(model)
    assert names(events) == ["start", "status", "token", "token", "complete"]
    assert text_of(events) == "So be it."
    assert text_of(ask(RunnableGenerator(parts))) == "So be it."


def test_of_a_chain() -> None:
    chain = (
        {"context": Library(documents=[TEA, SOUP, TEA]), "question": RunnablePassthrough()}
        | ChatPromptTemplate.from_template("{context} {question}")
        | Scripted(script=[says("Boil it.")])
    )
    events = ask(chain)
    assert names(events) == ["start", "source", "source", "token", "complete"]
    assert data(events, "source") == [
        {"title": "Tea", "text": "Water must boil.", "url": "https://tea.example/a", "score": 0.5},
        {"title": "soup.md", "text": "Soup needs salt."},
    ]
