"""The tools of a turn, each call shown once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document  # noqa: TC002 - the library reads it
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException, tool

from tests.adapters.langchain_talking import TEA, ask, data, names
from tests.adapters.scripted import Scripted, says

if TYPE_CHECKING:
    import pytest


def test_one_that_a_chain_calls() -> None:
    inner = Scripted(script=[says("inner")])

    @tool(response_format="content_and_artifact")
    async def search(query: str) -> tuple[str, list[Document]]:
        """Searches."""
        await inner.ainvoke(query)
        return "found 1", [TEA]

    call = {"type": "tool_call", "id": "c", "name": "search", "args": {"query": "hello"}}
    events = ask(RunnableLambda(lambda said: call) | search)
    assert names(events) == ["start", "tool", "source", "tool", "complete"]
    started, finished = data(events, "tool")
    assert started == {
        "call_id": started["call_id"], "name": "search", "status": "started", "input": {"query": "hello"}
    }  # fmt: skip
    assert finished == {"call_id": started["call_id"], "name": "search", "status": "finished", "output": "found 1"}


def test_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    def fails(said: str) -> str:
        """Fails."""
        raise RuntimeError("a secret")

    events = ask(fails)
    assert names(events) == ["start", "tool", "tool", "error"]
    assert data(events, "tool")[1]["error"] == "fails failed"
    assert events[-1]["data"]["code"] == "generation_failed"
    assert "a secret" not in str(events)
    assert "the tool 'fails' failed" in caplog.messages


def test_one_that_says_that_it_failed() -> None:
    @tool
    def refuses(said: str) -> str:
        """Refuses."""
        raise ToolException("no such order")

    refuses.handle_tool_error = True
    call = {"type": "tool_call", "id": "c", "name": "refuses", "args": {"said": "x"}}
    events = ask(refuses, input=lambda turn: call)
    assert [shown["status"] for shown in data(events, "tool")] == ["started", "failed"]


def test_those_that_run_when_all_fails() -> None:
    hanging = asyncio.Event()
    ended: list[asyncio.Task[Any]] = []

    @tool
    async def waits(said: str) -> str:
        """Waits."""
        hanging.set()
        await asyncio.Event().wait()
        return ""

    async def both(said: str) -> None:
        task = asyncio.create_task(waits.ainvoke(said))
        await hanging.wait()
        # The events end with the chain, and this tool later.
        ended.append(task)
        raise RuntimeError("no")

    events = ask(RunnableLambda(both))
    assert [shown["status"] for shown in data(events, "tool")] == ["started", "failed"]
