"""What the events of the real library mean, of chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableGenerator, RunnableLambda, RunnableParallel, RunnablePassthrough

from tests.adapters.langchain_talking import SOUP, TEA, ask, data, names, tokens
from tests.adapters.scripted import USAGE, Library, Scripted, Whole, says
from tests.peer import text_of
from wsserver import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from langchain_core.documents import Document


class TestText:
    """Each token comes once, wherever the model stands."""

    PROMPT = ChatPromptTemplate.from_template("{question}")

    @pytest.mark.parametrize(
        "around",
        [
            lambda model: model,
            lambda model: model | StrOutputParser(),
            lambda model: TestText.PROMPT | model | StrOutputParser(),
            lambda model: (
                TestText.PROMPT | model.with_config(tags=["mine"]) | RunnableLambda(lambda said: said.content)
            ),
            lambda model: RunnableParallel(answer=model | StrOutputParser(), asked=RunnablePassthrough()),
            lambda model: model.with_fallbacks([FakeListChatModel(responses=["no"])]),
            lambda model: RunnableLambda(lambda said: model),
        ],
    )
    def test_around_a_model(self, around: Callable[[Any], Any]) -> None:
        events = ask(around(Scripted(script=[says("Hel", "lo ", "you")])))
        assert tokens(events) == ["Hel", "lo ", "you"]
        assert events[-1]["data"] == {"status": "completed", "usage": USAGE, "final": True}

    @pytest.mark.parametrize(
        "runnable",
        [
            Whole(script=[says("Hel", "lo")]),
            Whole(script=[says("Hel", "lo")]) | StrOutputParser(),
            FakeListLLM(responses=["Hello"]),
            FakeListLLM(responses=["Hello"]) | StrOutputParser(),
            RunnableLambda(lambda said: "Hello"),
            RunnableLambda(lambda said: AIMessage("Hello")),
        ],
    )
    def test_what_does_not_stream_comes_whole(self, runnable: Any) -> None:
        assert tokens(ask(runnable)) == ["Hello"]

    def test_of_librarys_own_models(self) -> None:
        assert tokens(ask(FakeListChatModel(responses=["Hey"]))) == ["H", "e", "y"]

    @pytest.mark.parametrize("kind", [str, lambda part: AIMessageChunk(content=part)], ids=["str", "message"])
    def test_what_streams_without_a_model(self, kind: Any) -> None:
        async def parts(given: Any) -> AsyncIterator[Any]:
            async for _ in given:
                for part in "Hel", "lo":
                    yield kind(part)

        assert tokens(ask(RunnableGenerator(parts) | RunnablePassthrough())) == ["Hel", "lo"]

    @pytest.mark.parametrize("output", [("custom", "x"), ("updates", {"__interrupt__": ()}), {"answer": "x"}, None])
    def test_what_is_no_text_is_not_shown(self, output: Any) -> None:
        assert names(ask(RunnableLambda(lambda said: output))) == ["start", "complete"]

    def test_not_of_a_model_that_is_hidden(self) -> None:
        hidden = Scripted(script=[says("a question")]).with_config(tags=["nostream"])
        model = Scripted(script=[says("Hello")])
        events = ask(hidden | StrOutputParser() | model)
        assert text_of(events) == "Hello"
        assert events[-1]["data"]["usage"] == {name: 2 * value for name, value in USAGE.items()}

    def test_of_those_that_the_application_wants(self) -> None:
        models = [Scripted(script=[says(name)]).with_config(run_name=name) for name in ("draft", "final")]
        chain = models[0] | StrOutputParser() | models[1]
        assert text_of(ask(chain, shows=lambda event: event["name"] == "final")) == "final"
        # Where none of it is shown, what the chain makes of it is.
        shout = Scripted(script=[says("hel", "lo")]) | RunnableLambda(lambda said: said.content.upper())
        assert tokens(ask(shout, shows=lambda event: False)) == ["HELLO"]

    def test_events_of_ones_own(self) -> None:
        async def tell(said: Any) -> str:
            await adispatch_custom_event("chart", {"points": [1]})
            await adispatch_custom_event("note", "one")
            return "Done."

        events = ask(RunnableLambda(tell))
        assert names(events) == ["start", "chart", "note", "token", "complete"]
        assert [event["data"] for event in events[1:3]] == [{"points": [1]}, {"value": "one"}]


class TestSources:
    def test_as_the_application_wants(self) -> None:
        def source(document: Document) -> Source | None:
            return None if document is SOUP else Source(title="x", extra={"page": 7})

        shown = data(ask(Library(documents=[TEA, SOUP]), source=source), "source")
        assert shown == [{"title": "x", "page": 7}]

    def test_not_of_what_is_hidden(self) -> None:
        assert names(ask(Library(documents=[TEA], tags=["langsmith:hidden"]))) == ["start", "complete"]

    def test_what_a_retriever_asks_a_model_is_no_answer(self) -> None:
        model = Scripted(script=[says("tea recipes")])

        class Rewriting(Library):
            async def _aget_relevant_documents(self, query: str, *, run_manager: Any, **_: Any) -> list[Document]:
                await model.ainvoke(query, {"callbacks": run_manager.get_child()})
                return self.documents

        events = ask(Rewriting(documents=[TEA]))
        assert names(events) == ["start", "source", "complete"]
        assert events[-1]["data"]["usage"] == USAGE
