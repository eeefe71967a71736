"""A graph that asks before it acts: `wsserver serve examples.langgraph_approval:generate`.

Its checkpointer keeps each session's thread, and where it stands while the person thinks about it: also while they are
away. Yours should be one that outlives the process.
"""

from typing import Any

from langchain_core.language_models import FakeListChatModel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from wsserver.adapters import langchain

model = FakeListChatModel(responses=["Dear carrier, where is our parcel?"], sleep=0.02)


async def draft(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


def approve(state: MessagesState) -> Command[Any]:
    """Runs again from its first line once there is an answer, so it does nothing else before."""
    if interrupt({"message": "Shall I send this?", "schema": {"type": "boolean"}}):
        return Command(goto="send")
    return Command(goto=END, update={"messages": [{"role": "assistant", "content": "Then I keep it to myself."}]})


def send(state: MessagesState) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": "It is on its way."}]}  # your mail server


builder = StateGraph(MessagesState)
builder.add_node("draft", draft)
builder.add_node("approve", approve, destinations=("send", END))
builder.add_node("send", send)
builder.add_edge(START, "draft")
builder.add_edge("draft", "approve")

generate = langchain.callback(builder.compile(checkpointer=InMemorySaver()))
