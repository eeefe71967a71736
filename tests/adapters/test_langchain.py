"""Chains of the real library, with models that say what they are told to."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from langgraph.graph import MessagesState, StateGraph

from tests.adapters.langchain_talking import chatting
from tests.adapters.running import run
from tests.adapters.scripted import HANGS, Scripted, says
from wsserver import ConfigError
from wsserver.adapters.langchain import callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peer import Event


class TestInput:
    def test_the_configuration(self) -> None:
        seen = []

        def look(said: str, config: Any) -> str:
            seen.append((config["configurable"], config["metadata"].get("who"), config["tags"]))
            return ""

        async def main() -> None:
            chains = (
                callback(RunnableLambda(look)),
                callback(
                    RunnableLambda(look), config={"tags": ["a"], "metadata": {"who": "me"}, "configurable": {"k": 1}}
                ),
                callback(RunnableLambda(look), config=lambda turn: {"configurable": {"thread_id": turn.content}}),
            )
            for chain in chains:
                async with chatting(chain) as peer:
                    await peer.ask("hello")
                    await peer.turn()
                    seen.append(peer.session["session_id"])

        run(main())
        assert seen[0][0] == {"thread_id": seen[1]}
        assert seen[2] == ({"k": 1, "thread_id": seen[3]}, "me", ["a"])
        assert seen[4][0] == {"thread_id": "hello"}


class TestStop:
    @pytest.mark.parametrize("around", [lambda model: model, lambda model: model | StrOutputParser()])
    def test_it_cancels_the_model(self, around: Callable[[Any], Any]) -> None:
        async def main() -> list[Event]:
            model = Scripted(script=[says("Hel", HANGS)])
            async with chatting(callback(around(model))) as peer:
                await peer.ask("hello")
                await peer.event("start")
                await peer.event("token")
                await model.hanging.wait()
                await peer.send({"event": "stop"})
                events = await peer.turn()
                await model.cancelled.wait()
                return events

        assert run(main())[-1]["data"]["status"] == "stopped"

    @pytest.mark.timed
    def test_within_50_ms(self) -> None:
        async def main() -> float:
            model = Scripted(script=[says("Hel", HANGS)])
            async with chatting(callback(model | StrOutputParser())) as peer:
                await peer.ask("hello")
                await model.hanging.wait()
                began = asyncio.get_running_loop().time()
                await peer.send({"event": "stop"})
                await model.cancelled.wait()
                return asyncio.get_running_loop().time() - began

        # Of three tries the best one: other programs of the machine hold up single ones.
        waits = [run(main()) for _ in range(3)]
        assert min(waits) < 0.050, waits


class TestConfiguration:
    def test_what_is_no_runnable(self) -> None:
        with pytest.raises(ConfigError, match="not str"):
            callback("gpt")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"compile\(\) it first"):
            callback(StateGraph(MessagesState))  # type: ignore[arg-type]

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "langchain_core.runnables", None)
        with pytest.raises(ConfigError, match=r"pip install 'wsserver\[langchain\]'"):
            callback(RunnableLambda(str))

    def test_its_name(self) -> None:
        assert repr(callback(FakeListChatModel(responses=[]))) == "<Chain FakeListChatModel>"
