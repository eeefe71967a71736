"""A graph's interrupt as a question to the person."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from tests.adapters.graphs import YES, graph, interview
from tests.adapters.langchain_talking import names
from tests.peer import text_of
from wsserver.adapters.langchain import callback


@pytest.mark.parametrize(
    "value, message, schema",
    [
        ("Shall I?", "Shall I?", {}),
        (YES, "Shall I?", {"type": "boolean"}),
        ({"order": 7}, '{"order": 7}', {}),
        (["é"], '["é"]', {}),
        ({"type": "tool_approval", "name": "send", "description": "Send it?"}, "Send it?", {}),
    ],
)
def test_what_is_asked(value: Any, message: str, schema: Any) -> None:
    def approve(state: Any) -> Any:
        return {"messages": [AIMessage(f"You said {interrupt(value)}.")]}

    events, [asked] = interview(callback(graph(approve, checkpointer=InMemorySaver())), True)
    assert (asked["message"], asked["schema"]) == (message, schema)
    assert text_of(events) == "You said True."


def test_tools_that_a_middleware_holds_back() -> None:
    """What the `HumanInTheLoopMiddleware` of `langchain` asks, and what it wants to hear."""

    def hold_back(state: Any) -> Any:
        requests = [
            {"name": "send", "args": {"to": "Ann"}, "description": "Send it?"},
            {"name": "delete", "args": {"number": 7}},
            {"name": "pay", "args": {}, "description": "Pay it?"},
        ]
        reviews = [
            {"action_name": "send", "allowed_decisions": ["approve", "edit", "reject"]},
            {"action_name": "delete", "allowed_decisions": ["approve"]},
            {"action_name": "pay", "allowed_decisions": ["respond"]},
        ]
        answer = interrupt({"action_requests": requests, "review_configs": reviews})
        return {"messages": [AIMessage(json.dumps(answer))]}

    chain = callback(graph(hold_back, checkpointer=InMemorySaver()))
    events, asked = interview(chain, "reject", "approve", "respond")
    assert [(one["message"], one["schema"]) for one in asked] == [
        ("Send it?", {"enum": ["approve", "reject"]}),
        ('delete {"number": 7}', {"enum": ["approve"]}),
        ("Pay it?", {}),
    ]
    decisions = [{"type": "reject"}, {"type": "approve"}, {"type": "respond"}]
    assert json.loads(text_of(events)) == {"decisions": decisions}


def test_in_words_of_ones_own() -> None:
    async def decide(turn: Any, one: Any) -> Any:
        return {"type": "accept" if await turn.ask(f"{one.value['action']}?", {"type": "boolean"}) else "reject"}

    def approve(state: Any) -> Any:
        return {"messages": [AIMessage(interrupt({"action": "send"})["type"])]}

    events, [asked] = interview(callback(graph(approve, checkpointer=InMemorySaver()), ask=decide), False)
    assert asked["message"] == "send?"
    assert text_of(events) == "reject"


def test_an_answer_that_does_not_fit() -> None:
    from pydantic import BaseModel, Field

    class Decision(BaseModel):
        amount: int = Field(le=10)

    def approve(state: Any) -> Any:
        decision = interrupt("How much?", response_schema=Decision)
        return {"messages": [AIMessage(f"{decision.amount} it is.")]}

    chain = callback(graph(approve, checkpointer=InMemorySaver()))
    events, asked = interview(chain, {"amount": 11}, {"amount": 7})
    assert [one["message"] for one in asked] == ["How much?"] * 2
    assert asked[0]["schema"]["properties"]["amount"]["maximum"] == 10
    assert names(events) == ["start", "ask", "status", "ask", "token", "complete"]
    assert text_of(events) == "7 it is."
