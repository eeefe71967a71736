"""What a chain, or a graph, is told of the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from tests.adapters.langchain_talking import chatting
from tests.adapters.running import run
from tests.adapters.scripted import Scripted, says
from wsserver.adapters.langchain import callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsserver import Turn


class TestChain:
    def told(self, around: Callable[[Any], Any], *contents: Any, **options: Any) -> list[Any]:
        """What the model is told the last time."""
        model = Scripted(script=[says(f"Answer {number}.") for number in range(len(contents))])

        async def main() -> None:
            async with chatting(callback(around(model), **options)) as peer:
                for content in contents:
                    await peer.ask(content)
                    assert (await peer.turn())[-1]["event"] == "complete"

        run(main())
        return [(message.type, message.content) for message in model.asked[-1]]

    CONVERSATION = [("human", "one"), ("ai", "Answer 0."), ("human", "two")]

    def test_a_model_is_told_the_conversation(self) -> None:
        assert self.told(lambda model: model, "one", "two") == self.CONVERSATION
        assert self.told(lambda model: model.with_retry() | StrOutputParser(), "one", "two") == self.CONVERSATION
        assert self.told(lambda model: model, "one", "two", max_history=5) == self.CONVERSATION[2:]

    def test_a_prompt_of_messages_too(self) -> None:
        prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), MessagesPlaceholder("said")])
        assert self.told(lambda model: prompt | model, "one", "two") == [("system", "Be kind."), *self.CONVERSATION]

    def test_another_prompt_is_told_the_message(self) -> None:
        prompt = ChatPromptTemplate.from_template("Say {what}")
        assert self.told(lambda model: prompt | model, "one", "two") == [("human", "Say two")]
        two = ChatPromptTemplate.from_template("Say {what} in {language}")
        content = {"what": "tea", "language": "French"}
        assert self.told(lambda model: two | model, content) == [("human", "Say tea in French")]

    def test_of_ones_own(self) -> None:
        told = self.told(lambda model: model, "one", input=lambda turn: [HumanMessage(f"{turn.id}: {turn.content}")])
        assert told == [("human", "1: one")]

        async def look_up(turn: Turn) -> str:
            return f"{turn.content}!"

        assert self.told(lambda model: model, "one", input=look_up) == [("human", "one!")]
