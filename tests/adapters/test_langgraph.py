"""Graphs of the real library: an agent with two tools and a retriever, and graphs that interrupt."""

from __future__ import annotations

import asyncio
from itertools import count
from operator import add
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from tests.adapters.graphs import YES, agent, answer, graph, interview, said_by
from tests.adapters.langchain_talking import SOUP, TEA, ask, chatting, data, names, tokens
from tests.adapters.running import LONG, run
from tests.adapters.scripted import HANGS, USAGE, Library, Scripted, calls, says
from tests.client.proxy import Fate, failing
from tests.peer import Event, Peer, text_of
from wsserver import Config, ConfigError, Custom, Server, Source, Status
from wsserver.adapters.langchain import callback
from wsserver.adapters.langchain_input import STOPPED
from wsserver.client import connect

if TYPE_CHECKING:
    from wsserver.adapters.langchain import Chain


@tool
def order(number: int) -> dict[str, Any]:
    """Looks up an order."""
    return {"number": number, "late": True}


@tool
async def search(query: str) -> str:
    """Searches the manual."""
    documents = await Library(documents=[TEA, SOUP]).ainvoke(query)
    return "\n".join(document.page_content for document in documents)


class TestAgent:
    def test_two_tools_and_a_retriever(self) -> None:
        script = [
            calls(("order", {"number": 7}), ("search", {"query": "late"}), text="Let me see."),
            says("It ", "is ", "late."),
        ]
        model = Scripted(script=script)
        events = ask(agent(model, order, search))
        assert tokens(events) == ["Let me see.", "\n\nIt ", "is ", "late."]
        shown = data(events, "tool")
        for name, given, output in [
            ("order", {"number": 7}, '{"number": 7, "late": true}'),
            ("search", {"query": "late"}, "Water must boil.\nSoup needs salt."),
        ]:
            started, finished = (one for one in shown if one["name"] == name)
            assert started.items() >= {"status": "started", "input": given}.items()
            assert finished.items() >= {"status": "finished", "output": output}.items()
            assert started["call_id"] == finished["call_id"]
        assert [source["title"] for source in data(events, "source")] == ["Tea", "soup.md"]
        assert events[-1]["data"]["usage"] == {name: 2 * value for name, value in USAGE.items()}
        assert [message.type for message in model.asked[-1]] == ["human", "ai", "tool", "tool"]

    def test_a_tool_that_fails_and_is_told_to_the_model(self) -> None:
        @tool
        def fails() -> str:
            """Fails."""
            raise RuntimeError("a secret")

        model = Scripted(script=[calls(("fails", {})), says("Sorry.")])
        events = ask(agent(model, fails, handle_tool_errors=True))
        assert [shown["status"] for shown in data(events, "tool")] == ["started", "failed"]
        assert "secret" not in str(events)
        assert text_of(events) == "Sorry."

    def test_what_an_agent_says_within_a_tool_is_no_answer(self) -> None:
        inner = agent(Scripted(script=[calls(("order", {"number": 1})), says("inner")]), order)

        @tool
        async def delegate() -> str:
            """Asks another one."""
            return str((await inner.ainvoke({"messages": [("user", "?")]}))["messages"][-1].content)

        events = ask(agent(Scripted(script=[calls(("delegate", {})), says("outer")]), delegate))
        assert text_of(events) == "outer"
        assert [shown["name"] for shown in data(events, "tool")] == ["delegate", "order", "order", "delegate"]

    def test_a_tool_that_changes_the_state(self) -> None:
        @tool
        def jump() -> Command[Any]:
            """Ends it."""
            return Command(update={"messages": [{"role": "tool", "content": "jumped", "tool_call_id": "call_0"}]})

        events = ask(agent(Scripted(script=[calls(("jump", {})), says("Done.")]), jump))
        assert data(events, "tool")[1]["output"] == "jumped"

    def test_it_may_go_round_in_circles(self) -> None:
        model = Scripted(script=[calls(("order", {"number": at})) for at in range(9)])
        events = ask(agent(model, order), config={"recursion_limit": 5})
        assert events[-1]["data"].items() >= {"code": "too_many_rounds", "retryable": False}.items()


class TestNodes:
    @pytest.mark.parametrize(
        "said",
        [AIMessage("Hello"), {"role": "assistant", "content": "Hello"}, AIMessage([{"type": "text", "text": "Hello"}])],
    )
    def test_what_a_node_says_itself(self, said: Any) -> None:
        def greet(state: Any) -> Any:
            return {"messages": said}

        def jump(state: Any) -> Any:
            return Command(update={"messages": [said]})

        inner = graph(greet)
        for one in greet, jump, inner:
            builder = StateGraph(MessagesState)
            builder.add_node("one", one)
            builder.add_edge(START, "one")
            assert tokens(ask(builder.compile())) == ["Hello"]

    def test_what_a_model_said_is_not_said_again_by_nodes(self) -> None:
        model = Scripted(script=[says("Hel", "lo")])

        class State(MessagesState):
            draft: str

        async def write(state: State) -> dict[str, Any]:
            return {"draft": (await model.ainvoke("?")).content}

        def publish(state: State) -> dict[str, Any]:
            return {"messages": [AIMessage(state["draft"])]}

        assert tokens(ask(graph(write, publish, state=State))) == ["Hel", "lo"]

    def test_a_state_that_gives_its_messages_no_ids(self) -> None:
        class State(TypedDict):
            messages: Annotated[list[Any], add]

        class Last(TypedDict):
            messages: list[Any]

        def one(state: Any) -> Any:
            return {"messages": [AIMessage("One.")]}

        def two(state: Any) -> Any:
            return {"messages": [*state["messages"], AIMessage("Two.")]}

        assert text_of(ask(graph(one, state=State))) == "One."
        assert text_of(ask(graph(one, two, state=Last))) == "One.\n\nTwo."

    def test_those_that_the_application_wants(self) -> None:
        def plan(state: Any) -> Any:
            return {"messages": [AIMessage("A plan.")]}

        speak = said_by(Scripted(script=[says("An answer.")]))
        events = ask(graph(plan, speak), shows=lambda event: event["metadata"]["langgraph_node"] == "speak")
        assert text_of(events) == "An answer."

    def test_one_that_is_tried_again(self) -> None:
        model = Scripted(script=[OSError("Hel", "lx"), says("Hello")])
        policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
        events = ask(graph(said_by(model), retry_policy=policy))
        assert names(events) == ["start", "token", "token", "reset", "token", "complete"]
        assert tokens(events)[2:] == ["Hello"]

    def test_what_a_node_writes(self) -> None:
        def write(state: Any) -> Any:
            writer = get_stream_writer()
            for one in ("Looking …", Source("book"), Status("…"), Custom("chart", {"a": 1}), {"done": 1}, 7):
                writer(one)
            return {}

        events = ask(graph(write))
        assert [(event["event"], event["data"]) for event in events[1:-1]] == [
            ("status", {"message": "Looking …"}),
            ("source", {"title": "book"}),
            ("status", {"message": "…"}),
            ("chart", {"a": 1}),
            ("custom", {"done": 1}),
            ("custom", {"value": 7}),
        ]

    def test_a_graph_without_messages(self) -> None:
        class State(TypedDict):
            question: str

        def look(state: State) -> dict[str, Any]:
            get_stream_writer()(state["question"])
            return {}

        made = graph(look, state=State)
        with pytest.raises(ConfigError, match="input=lambda turn"):
            callback(made)
        events = ask(made, input=lambda turn: {"question": turn.content})
        assert data(events, "status") == [{"message": "hello"}]

    def test_a_function_as_a_graph(self) -> None:
        model = Scripted(script=[says("Hel", "lo")])

        @entrypoint()
        async def answer(said: str) -> str:
            return str((await model.ainvoke(said)).content)

        assert tokens(ask(answer, input=lambda turn: turn.content)) == ["Hel", "lo"]


class TestThread:
    def talk(self, model: Scripted, *contents: str, checkpointer: Any = None, **options: Any) -> Any:
        async def main() -> None:
            chain = callback(agent(model, order, checkpointer=checkpointer), **options)
            for _ in range(2 if options else 1):
                async with chatting(chain) as peer:
                    for content in contents:
                        await peer.ask(content)
                        assert (await peer.turn())[-1]["event"] == "complete"

        run(main())
        return [(message.type, message.content) for message in model.asked[-1]]

    CONVERSATION = [("human", "one"), ("ai", "First."), ("human", "two")]

    @pytest.mark.parametrize("saver", [None, InMemorySaver])
    def test_the_conversation_is_told_once(self, saver: Any) -> None:
        model = Scripted(script=[says("First."), says("Second.")])
        assert self.talk(model, "one", "two", checkpointer=saver and saver()) == self.CONVERSATION

    def test_a_thread_of_its_own_for_each_session(self) -> None:
        saver = InMemorySaver()
        for _ in range(2):
            assert self.talk(Scripted(script=[says("First.")]), "one", checkpointer=saver) == [("human", "one")]
        assert len({checkpoint.config["configurable"]["thread_id"] for checkpoint in saver.list(None)}) == 2

    def test_a_thread_of_the_application(self) -> None:
        model = Scripted(script=[says("First."), says("Second.")])
        config = {"configurable": {"thread_id": "t"}}
        told = self.talk(model, "one", checkpointer=InMemorySaver(), config=config)
        assert told == [("human", "one"), ("ai", "First."), ("human", "one")]

    def test_one_that_has_lost_it_is_told_all(self) -> None:
        saver = InMemorySaver()
        model = Scripted(script=[says("First."), says("Second.")])

        async def main() -> None:
            async with chatting(callback(agent(model, checkpointer=saver))) as peer:
                await peer.ask("one")
                await peer.turn()
                saver.delete_thread(peer.session["session_id"])
                await peer.ask("two")
                await peer.turn()

        run(main())
        assert [(message.type, message.content) for message in model.asked[-1]] == self.CONVERSATION

    def test_after_a_stop(self) -> None:
        """Neither half an answer nor a call without a result keeps the next turn from its answer."""
        waiting = asyncio.Event()

        @tool
        async def wait() -> str:
            """Waits."""
            waiting.set()
            await asyncio.Event().wait()
            return ""

        model = Scripted(script=[says("Fir", HANGS), calls(("order", {"number": 1}), ("wait", {})), says("Third.")])

        async def main() -> None:
            async with chatting(callback(agent(model, order, wait, checkpointer=InMemorySaver()))) as peer:
                for content, event in ("one", model.hanging), ("two", waiting):
                    await peer.ask(content)
                    await event.wait()
                    await peer.send({"event": "stop"})
                    assert (await peer.turn())[-1]["data"]["status"] == "stopped"
                await peer.ask("three")
                assert text_of(await peer.turn()) == "Third."

        run(main())
        assert [(message.type, message.content) for message in model.asked[-1]] == [
            ("human", "one"),
            ("ai", "Fir […]"),
            ("human", "two"),
            ("ai", ""),
            ("tool", STOPPED),
            ("tool", STOPPED),
            ("human", "three"),
        ]


@tool
def cancel(number: int) -> str:
    """Cancels an order."""
    return "cancelled" if interrupt({**YES, "message": f"Cancel {number}?"}) else "kept"


class TestInterrupt:
    def test_a_tool_that_needs_approval(self) -> None:
        script = [calls(("cancel", {"number": 7}), ("order", {"number": 7})), says("Done.")]
        chain = callback(agent(Scripted(script=script), cancel, order, checkpointer=InMemorySaver()))
        events, [asked] = interview(chain, True)
        assert (asked["message"], asked["schema"]) == ("Cancel 7?", {"type": "boolean"})
        assert text_of(events) == "Done."
        # To the person each is one call, though both ran twice.
        shown = [(one["name"], one["status"], one.get("output")) for one in data(events, "tool")]
        assert sorted(shown, key=str) == [
            ("cancel", "finished", "cancelled"),
            ("cancel", "started", None),
            ("order", "finished", '{"number": 7, "late": true}'),
            ("order", "started", None),
        ]
        assert len({one["call_id"] for one in data(events, "tool")}) == 2
        assert events[-1]["data"]["usage"] == {name: 2 * value for name, value in USAGE.items()}

    def test_the_same_call_twice(self) -> None:
        runs = count()

        @tool
        async def cancel(number: int) -> str:
            """Cancels an order."""
            return f"{next(runs)} {interrupt(YES)}"

        twice = [("cancel", {"number": 7})] * 2
        chain = callback(agent(Scripted(script=[calls(*twice), says("Done.")]), cancel, checkpointer=InMemorySaver()))
        events, asked = interview(chain, True, False)
        assert len(asked) == 2
        shown = [(one["call_id"], one.get("output")) for one in data(events, "tool")]
        first, second = (one for one, _ in shown[:2])
        # What ran again and came to something else is told anew.
        assert shown[2:] == [(first, "2 True"), (first, "4 True"), (second, "5 False")]

    def test_several_at_a_time(self) -> None:
        class State(TypedDict):
            messages: Annotated[list[Any], add]

        builder = StateGraph(State)
        for name in "a", "b":

            def approve(state: Any, name: str = name) -> Any:
                return {"messages": [AIMessage(f"{name}={interrupt(name)}")]}

            builder.add_node(name, approve)
            builder.add_edge(START, name)

        async def main() -> list[Event]:
            async with chatting(callback(builder.compile(checkpointer=InMemorySaver()))) as peer:
                await peer.ask("go")
                await peer.event("start")
                questions = [await peer.event("ask"), await peer.event("ask")]
                for question in reversed(questions):
                    await answer(peer, question, question["data"]["message"] * 2)
                return await peer.turn()

        assert sorted(text_of(run(main())).split()) == ["a=aa", "b=bb"]

    def test_one_after_another_within_a_graph_within_a_graph(self) -> None:
        def approve(state: Any) -> Any:
            return {"messages": [AIMessage(f"{interrupt('one?')} {interrupt('two?')}")]}

        inner = graph(approve)
        builder = StateGraph(MessagesState)
        builder.add_node("inner", inner)
        builder.add_edge(START, "inner")
        events, asked = interview(callback(builder.compile(checkpointer=InMemorySaver())), 1, 2)
        assert [one["message"] for one in asked] == ["one?", "two?"]
        assert tokens(events) == ["1 2"]

    def test_what_a_node_said_before_it_asked_is_void_once_it_says_it_again(self) -> None:
        model = Scripted(script=[says("Dear Ann"), says("Dear ", "Bob")])
        first = Scripted(script=[says("Well.")])

        async def begin(state: Any) -> Any:
            return {"messages": [await first.ainvoke("?")]}

        async def draft(state: Any) -> Any:
            said = await model.ainvoke("?")
            return {"messages": [said]} if interrupt("Send it?") else {}

        events, _ = interview(callback(graph(begin, draft, checkpointer=InMemorySaver())), True)
        assert names(events) == ["start", "token", "token", "ask", "reset", "token", "token", "token", "complete"]
        assert tokens(events) == ["Well.", "\n\nDear Ann", "Well.", "\n\nDear ", "Bob"]

    def test_without_a_checkpointer(self, caplog: pytest.LogCaptureFixture) -> None:
        def approve(state: Any) -> Any:
            interrupt("?")

        events = ask(graph(approve))
        assert names(events) == ["start", "error"]
        assert "needs a checkpointer" in caplog.text

    def test_it_does_not_ask_for_ever(self) -> None:
        def approve(state: Any) -> Any:
            while True:
                interrupt("?")

        events, _ = interview(callback(graph(approve, checkpointer=InMemorySaver())), *range(32))
        assert events[-1]["data"]["code"] == "too_many_rounds"

    def test_a_breakpoint_is_no_question(self, caplog: pytest.LogCaptureFixture) -> None:
        builder = StateGraph(MessagesState)
        builder.add_node("one", lambda state: {})
        builder.add_edge(START, "one")
        events = ask(builder.compile(checkpointer=InMemorySaver(), interrupt_before=["one"]))
        assert names(events) == ["start", "complete"]
        assert "stands at a breakpoint" in caplog.text

    def test_a_stop_while_it_asks(self) -> None:
        chain = callback(
            agent(
                Scripted(script=[calls(("cancel", {"number": 7})), says("As you like.")]),
                cancel,
                checkpointer=InMemorySaver(),
            )
        )

        async def main() -> list[Event]:
            async with chatting(chain) as peer:
                await peer.ask("go")
                while (await peer.event())["event"] != "ask":
                    pass
                await peer.send({"event": "stop"})
                assert (await peer.turn())[-1]["data"]["status"] == "stopped"
                await peer.ask("never mind")
                return await peer.turn()

        assert text_of(run(main())) == "As you like."


class TestReconnect:
    """A graph asks for approval; the person is away meanwhile, and comes back."""

    def chain(self) -> Chain:
        script = [calls(("cancel", {"number": 7}), text="One moment."), says("It ", "is ", "cancelled.")]
        return callback(agent(Scripted(script=script), cancel, checkpointer=InMemorySaver()))

    def test_by_hand(self) -> None:
        async def main() -> None:
            async with Server(self.chain(), Config(port=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.ask("cancel my order")
                    before = [await peer.event() for _ in range(4)]
                    assert names(before) == ["start", "token", "tool", "ask"]
                    peer.reset()
                url = server.urls[0] + peer.resume(before[-2]["seq"])
                async with Peer.connect(url) as again:
                    assert again.session["data"]["recovered"]
                    question = await again.event("ask")
                    assert question == before[-1]
                    await again.event("replayed")
                    await answer(again, question, True)
                    events = await again.turn()
            assert names(events) == ["tool", "token", "token", "token", "complete"]
            assert events[0]["data"].items() >= {"status": "finished", "output": "cancelled"}.items()
            assert events[0]["data"]["call_id"] == before[2]["data"]["call_id"]
            assert text_of(before + events) == "One moment.\n\nIt is cancelled."
            assert [event["seq"] for event in before + events] == list(range(1, 10))

        run(main())

    def test_by_the_client(self) -> None:
        """The network dies with the question on its way."""
        cut = asyncio.Event()

        async def main() -> list[str]:
            shown = []
            async with (
                Server(self.chain(), Config(port=0)) as server,
                failing(server.urls[0], lambda: Fate(float("inf"), 900 if not cut.is_set() else float("inf"))) as url,
                connect(url, reconnect=True) as chat,
            ):
                listening = asyncio.create_task(anext(chat.events()))
                async for event in chat.ask("cancel my order"):
                    shown.append(event.name)
                    if event.name == "ask":
                        await chat.answer(event.data["call_id"], True)
                    cut.set()
                assert (await listening).name == "reconnecting"
            return shown

        shown = run(main())
        assert shown == ["start", "token", "tool", "ask", "tool", "token", "token", "token", "complete"]


class TestStop:
    def test_it_cancels_the_node(self) -> None:
        model = Scripted(script=[says("Hel", HANGS)])

        async def main() -> float:
            async with chatting(callback(agent(model))) as peer:
                await peer.ask("hello")
                await model.hanging.wait()
                began = asyncio.get_running_loop().time()
                await peer.send({"event": "stop"})
                await model.cancelled.wait()
                return asyncio.get_running_loop().time() - began

        assert run(main()) < LONG / 10
