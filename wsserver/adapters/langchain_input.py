"""What a chain, or a graph, is told of the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .openai import messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_core.messages import BaseMessage

    from ..chat.turn import Turn

#: What a model is told of a tool that a stop has ended.
STOPPED = "The person has stopped this."


def takes_messages(runnable: Any) -> bool:
    """Whether a chain begins with a model, or with a prompt that wants messages and nothing else."""
    from langchain_core.language_models import BaseLanguageModel
    from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

    first = runnable
    while inner := _inner(first):
        first = inner
    if isinstance(first, ChatPromptTemplate):
        names = first.input_variables
        return [
            part.variable_name for part in first.messages if isinstance(part, MessagesPlaceholder)
        ] == names and len(names) == 1
    return isinstance(first, BaseLanguageModel)


def content(turn: Turn) -> Any:
    """Only what the person says now."""
    return turn.content


class ConversationInput:
    """The conversation as messages: its last `max_history` characters."""

    def __init__(self, max_history: int) -> None:
        self._max_history = max_history

    def __call__(self, turn: Turn) -> list[BaseMessage]:
        return _told(_said(turn), self._max_history)


class ThreadInput:
    """`{"messages": […]}` for a graph: the conversation, or what its thread does not hold of it."""

    def __init__(self, graph: Any, max_history: int) -> None:
        self._graph = graph
        self._max_history = max_history

    async def __call__(self, turn: Turn, config: Any) -> dict[str, list[BaseMessage]]:
        said = _said(turn)
        if self._graph.checkpointer:
            held = (await self._graph.aget_state(config)).values.get("messages")
            if held:
                return {"messages": [*_ended(held), *_told(_news(said, held), self._max_history)]}
        return {"messages": _told(said, self._max_history)}


def _said(turn: Turn) -> list[Mapping[str, Any]]:
    # Where no history is kept there is at least this message.
    return list(turn.history) or [{"role": "user", "content": turn.content}]


def _news(said: list[Mapping[str, Any]], held: list[Any]) -> list[Mapping[str, Any]]:
    """What the person says now, behind an answer that was ended before the thread had any of it."""
    before = said[-2:-1]
    if before and before[0].get("status", "completed") != "completed" and held[-1].type == "human":
        return said[-2:]
    return said[-1:]


def _ended(held: list[Any]) -> list[BaseMessage]:
    """Results for the calls that a stop has left without one: most models refuse a conversation with such calls."""
    from langchain_core.messages import ToolMessage

    answered = set()
    for message in reversed(held):
        if message.type != "tool":
            calls = getattr(message, "tool_calls", ())
            break
        answered.add(message.tool_call_id)
    else:
        return []
    return [
        ToolMessage(STOPPED, tool_call_id=call["id"], name=call["name"], status="error")
        for call in calls
        if call["id"] not in answered
    ]


def _told(said: Iterable[Mapping[str, Any]], max_history: int) -> list[BaseMessage]:
    from langchain_core.messages import convert_to_messages

    return convert_to_messages(messages(said, max_history=max_history))


def _inner(runnable: Any) -> Any:
    """What a chain gives its input to, None where it takes it itself."""
    from langchain_core.runnables import RunnableSequence, RunnableWithFallbacks
    from langchain_core.runnables.base import RunnableBindingBase

    if isinstance(runnable, RunnableSequence):
        return runnable.first
    if isinstance(runnable, RunnableBindingBase):
        return runnable.bound
    return runnable.runnable if isinstance(runnable, RunnableWithFallbacks) else None
