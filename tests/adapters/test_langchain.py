"""Chains of the real library, with models that say what they are told to."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableGenerator, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.tools import ToolException, tool
from langgraph.graph import MessagesState, StateGraph

from tests.adapters.scripted import HANGS, USAGE, Library, Scripted, Whole, says
from tests.peer import Event, Peer, text_of
from wsserver import Config, ConfigError, Server, Source, TurnError
from wsserver.adapters.langchain import callback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from wsserver import Turn
    from wsserver.adapters.langchain import Chain

#: Seconds: more than anything here takes, so that what hangs fails.
LONG = 20

TEA = Document("Water must boil.", metadata={"source": "https://tea.example/a", "title": "Tea", "score": "0.5"})
SOUP = Document("Soup needs salt.", metadata={"source": "soup.md", "score": "much"})


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests: with these it would be told to a service."""
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(LONG):
            return await main

    return asyncio.run(within())


@asynccontextmanager
async def chatting(chain: Chain, **settings: Any) -> AsyncIterator[Peer]:
    async with Server(chain, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]) as peer:
        yield peer


def ask(runnable: Any, content: Any = "hello", settings: Any = None, **options: Any) -> list[Event]:
    """All events of one turn."""

    async def main() -> list[Event]:
        async with chatting(callback(runnable, **options), **(settings or {})) as peer:
            await peer.ask(content)
            return await peer.turn()

    return run(main())  # type: ignore[no-any-return]


def names(events: list[Event]) -> list[str]:
    return [event["event"] for event in events]


def tokens(events: list[Event]) -> list[str]:
    return [event["data"]["value"] for event in events if event["event"] == "token"]


def data(events: list[Event], name: str) -> list[Any]:
    return [event["data"] for event in events if event["event"] == name]


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

    def test_blocks_and_thoughts(self) -> None:
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

    def test_of_models_one_after_another(self) -> None:
        chain = Scripted(script=[says("One.")]) | StrOutputParser() | Scripted(script=[says("Two.")])
        assert text_of(ask(chain)) == "One.\n\nTwo."

    def test_of_models_beside_one_another(self) -> None:
        first, second = Scripted(script=[says("a", HANGS, "a")]), Scripted(script=[says("b", "b")])

        async def both(given: Any) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(first.ainvoke(given))
                await first.hanging.wait()
                await second.ainvoke(given)
                first.released.set()

        events = ask(RunnableLambda(both))
        assert tokens(events) == ["a", "a", "\n\nbb"]

    def test_what_a_model_said_before_it_failed_is_void(self) -> None:
        broken = Scripted(script=[OSError("Hel", "lx")])
        model = Scripted(script=[says("Hello")])
        first = Scripted(script=[says("Well.")])

        async def again(given: Any) -> Any:
            await first.ainvoke(given)
            return await broken.with_fallbacks([model]).ainvoke(given)

        events = ask(RunnableLambda(again))
        assert names(events) == ["start", *["token"] * 3, "reset", *["token"] * 2, "complete"]
        assert tokens(events) == ["Well.", "\n\nHel", "lx", "Well.", "\n\nHello"]

    def test_events_of_ones_own(self) -> None:
        async def tell(said: Any) -> str:
            await adispatch_custom_event("chart", {"points": [1]})
            await adispatch_custom_event("note", "one")
            return "Done."

        events = ask(RunnableLambda(tell))
        assert names(events) == ["start", "chart", "note", "token", "complete"]
        assert [event["data"] for event in events[1:3]] == [{"points": [1]}, {"value": "one"}]


class TestSources:
    def test_of_a_chain(self) -> None:
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


class TestTools:
    def test_one_that_a_chain_calls(self) -> None:
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

    def test_one_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
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

    def test_one_that_says_that_it_failed(self) -> None:
        @tool
        def refuses(said: str) -> str:
            """Refuses."""
            raise ToolException("no such order")

        refuses.handle_tool_error = True
        call = {"type": "tool_call", "id": "c", "name": "refuses", "args": {"said": "x"}}
        events = ask(refuses, input=lambda turn: call)
        assert [shown["status"] for shown in data(events, "tool")] == ["started", "failed"]

    def test_those_that_run_when_all_fails(self) -> None:
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


class TestInput:
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


class TestErrors:
    @pytest.mark.parametrize(
        "kind, code, retryable",
        [
            ("RateLimitError", "upstream_rate_limited", True),
            ("InternalServerError", "upstream_failed", True),
            ("AuthenticationError", "upstream_denied", False),
            ("APIConnectionError", "upstream_cut", True),
            ("APITimeoutError", "upstream_timeout", True),
        ],
    )
    def test_of_an_endpoint(self, kind: str, code: str, retryable: bool, caplog: pytest.LogCaptureFixture) -> None:
        import httpx
        import openai

        request = httpx.Request("POST", "http://127.0.0.1/", headers={"Authorization": "Bearer s3cret"})
        made = getattr(openai, kind)
        if issubclass(made, openai.APIStatusError):
            status = {"RateLimitError": 429, "AuthenticationError": 401}.get(kind, 500)
            error = made("the key s3cret", response=httpx.Response(status, request=request), body=None)
        else:
            error = made(request=request)

        def fail(said: Any) -> str:
            raise error

        events = ask(Scripted(script=[says("Hel")]) | RunnableLambda(fail))
        assert text_of(events) == "Hel"
        assert events[-1]["data"].items() >= {"code": code, "retryable": retryable}.items()
        assert code in caplog.text and "s3cret" not in caplog.text

    def test_of_the_application(self) -> None:
        def fail(said: Any) -> str:
            raise TurnError("closed", "We are closed.", retryable=True)

        events = ask(RunnableLambda(fail))
        assert events[-1]["data"].items() >= {"code": "closed", "retryable": True}.items()

    def test_of_any_other_kind(self, caplog: pytest.LogCaptureFixture) -> None:
        events = ask(Scripted(script=[OSError("Hel")]))
        assert names(events) == ["start", "token", "error"]
        assert events[-1]["data"].items() >= {"code": "generation_failed", "retryable": False}.items()
        assert "OSError: Hel" in caplog.text


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


class TestPace:
    def test_a_model_waits_for_a_slow_reader(self) -> None:
        """While nobody reads, the model says no more than the buffers hold."""

        async def main() -> None:
            size = 200
            model = Scripted(script=[says(*["x" * 2**15] * size)])
            async with chatting(callback(model | StrOutputParser())) as peer:
                await peer.ask("hello")
                seen = [0, 0]
                # Nothing tells that it stands still but that it does.
                while len(set(seen[-3:])) > 1 or not seen[-1]:
                    await asyncio.sleep(0.05)
                    seen.append(model.said)
                assert seen[-1] < size / 2
                assert len(text_of(await peer.turn())) == size * 2**15
                assert model.said == size

        run(main())


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
