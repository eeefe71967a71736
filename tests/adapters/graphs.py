"""Graphs of the real library, and turns in which they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.adapters.langchain_talking import chatting
from tests.adapters.running import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.adapters.scripted import Scripted
    from tests.peer import Event, Peer
    from wsserver.adapters.langchain import Chain

YES = {"message": "Shall I?", "schema": {"type": "boolean"}}


def agent(model: Scripted, *tools: Any, checkpointer: Any = None, **options: Any) -> Any:
    """A model and its tools, in turn, until it calls none."""

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("agent", think)
    builder.add_node("tools", ToolNode(list(tools), **options))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=checkpointer)


def graph(*nodes: Callable[..., Any], state: Any = MessagesState, checkpointer: Any = None, **options: Any) -> Any:
    """One node after another."""
    builder = StateGraph(state)
    before = START
    for node in nodes:
        builder.add_node(node.__name__, node, **options)
        builder.add_edge(before, node.__name__)
        before = node.__name__
    builder.add_edge(before, END)
    return builder.compile(checkpointer=checkpointer)


def said_by(model: Any) -> Callable[[MessagesState], Any]:
    async def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return speak


def interview(chain: Chain, *answers: Any, content: str = "go") -> tuple[list[Event], list[Any]]:
    """All events of one turn in which each question is answered, and the questions."""

    async def main() -> tuple[list[Event], list[Any]]:
        left, events, asked = list(answers), [], []
        async with chatting(chain) as peer:
            await peer.ask(content)
            while True:
                event = await peer.event()
                events.append(event)
                if event["event"] == "ask":
                    asked.append(event["data"])
                    await answer(peer, event, left.pop(0))
                if event["data"].get("final"):
                    assert not left
                    return events, asked

    return run(main())  # type: ignore[no-any-return]


async def answer(peer: Peer, question: Event, value: Any) -> None:
    await peer.send({"event": "answer", "data": {"call_id": question["data"]["call_id"], "value": value}})
