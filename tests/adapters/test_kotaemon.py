"""Kotaemon's pipelines as callbacks, by objects of their shape; the real ones are asked in `tests/real/kotaemon`."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import PosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters import kotaemon_shapes as shapes
from tests.adapters.kotaemon_shapes import MINDMAP, Document, Pipeline, ReactAgentPipeline, chat, evidence, info
from tests.peer import Event, Peer, text_of
from wsserver import Config, ConfigError, Server, TurnError
from wsserver.adapters import kotaemon, kotaemon_context
from wsserver.adapters.kotaemon import Exchange, KotaemonTurn, kotaemon_app
from wsserver.adapters.kotaemon_context import Context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

#: Seconds: more than anything here takes, so that what hangs fails.
LONG = 20


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(LONG):
            return await main

    return asyncio.run(within())


@asynccontextmanager
async def talking(generate: Any, **hooks: Any) -> AsyncIterator[Peer]:
    async with Server(generate, Config(port=0), **hooks) as server, Peer.connect(server.urls[0]) as peer:
        yield peer


def ask(factory: Callable[[KotaemonTurn], Any], content: Any = "Tea?", **options: Any) -> list[Event]:
    """All events of one turn; afterwards no thread is left."""
    generate = kotaemon_app(factory, **options)

    async def main() -> list[Event]:
        async with talking(generate) as peer:
            await peer.ask(content)
            return await peer.turn()

    events: list[Event] = run(main())
    assert (generate.threads.running, generate.threads.orphans) == (0, 0)
    return events


def shown(*documents: Any, answer: Any = None, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    """The events between `start` and the end, without what they have in common."""
    events = ask(lambda turn: Pipeline(documents, answer), **options)
    assert events[-1]["data"]["status"] == "completed", events[-1]
    return [(event["event"], event["data"]) for event in events[1:-1]]


class TestDocuments:
    def test_an_answer_is_said(self) -> None:
        assert shown(chat("Tea "), chat(""), chat("wants"), chat(3)) == [
            ("token", {"value": "Tea "}),
            ("token", {"value": "wants"}),
            ("token", {"value": "3"}),
        ]

    def test_none_voids_and_nothing_else_does(self) -> None:
        """An empty text is no None: both are false."""
        events = shown(chat("draft"), chat(""), chat(None), chat("final"), info("a"), info(""), info(None), info("b"))
        assert [name for name, _ in events] == "token reset token source reset source".split()
        assert [data["channel"] for name, data in events if name == "reset"] == ["answer", "sources"]

    def test_what_was_voided_is_not_in_the_history(self) -> None:
        pipelines = iter([Pipeline([chat("draft"), chat(None), chat("final")]), second := Pipeline([chat("yes")])])
        generate = kotaemon_app(lambda turn: next(pipelines))

        async def main() -> None:
            async with talking(generate) as peer:
                for content in ("one", {"content": "two"}):
                    await peer.ask(content)
                    await peer.turn()

        run(main())
        [(message, conversation, history)] = second.asked
        assert (message, history) == ("two", [("one", "final")])
        assert conversation.startswith("s_")

    def test_evidence_is_a_source(self) -> None:
        body = "<p>Tea wants <mark id='mark-1'>water\n that</mark> boils &amp; waits.</p>"
        body += "<table><tr><td>1</td><td>2</td></tr></table>"
        [(name, data)] = shown(info(evidence("Table from [Page 3] tea.pdf", body, score=0.8)))
        assert name == "source"
        assert data == {
            "title": "Table from [Page 3] tea.pdf",
            "text": "Tea wants water that boils & waits.\n1 2",
            "score": 0.8,
            "highlights": ["water that"],
        }

    def test_evidence_without_scores_is_a_source(self) -> None:
        link = '<a href="#" class="pdf-link" data-src="/file=/srv/files/secret">\n [Preview]\n</a>'
        [(_, data)] = shown(info(evidence(f"[Page 3] tea.pdf {link}", "<p>It boils.</p>")))
        assert data == {"title": "[Page 3] tea.pdf", "text": "It boils."}

    def test_html_comes_only_where_it_is_wanted_and_is_marked(self) -> None:
        hostile = evidence("tea.md", "<script>alert(1)</script><img src=x onerror=alert(1)>It boils.")
        [(_, data)] = shown(info(hostile))
        assert data == {"title": "tea.md", "text": "It boils."}
        [(_, data)] = shown(info(hostile), html=True)
        assert data == {"title": "tea.md", "text": "It boils.", "html": hostile, "trusted": False}
        [(_, data)] = shown(info("<img src='data:" + "A" * 200_000 + "'>a figure"), html=True)
        assert data == {"text": "a figure"}

    @pytest.mark.parametrize(
        "body", ["<b>un<i>closed", "</div></p>a", "<", "&lt;b&gt;", "<!-- x", "<pre>a\n  b</pre>", "a<br>b"]
    )
    def test_any_html_has_a_text(self, body: str) -> None:
        [(name, data)] = shown(info("before " + body))
        assert name == "source"
        assert data["text"].startswith("before")
        assert "\n\n" not in data["text"]

    def test_what_is_told_beside_the_evidence(self) -> None:
        assert shown(info("<h5><b>No evidence found.</b></h5>")) == [("source", {"text": "No evidence found."})]

    def test_a_mind_map_is_markdown(self) -> None:
        assert shown(info(MINDMAP)) == [("mindmap", {"markdown": "# Tea\n## Water"})]
        inside = evidence("tea.md", "<p>x</p>" + MINDMAP)
        assert [name for name, _ in shown(info(inside))] == ["source"]

    def test_a_figure_is_a_plot(self, caplog: pytest.LogCaptureFixture) -> None:
        figure = {"data": [{"x": [1]}], "layout": {}}
        documents = ['{"data": [{"x": [1]}], "layout": {}}', figure, "", None, "no JSON", "[1]"]
        assert shown(*(Document(content, "plot") for content in documents)) == [("plot", figure), ("plot", figure)]
        assert len([record for record in caplog.records if "plot" in record.message]) == 2

    def test_other_channels(self) -> None:
        documents = [Document(PosixPath("/a/b"), "index"), Document("x", "debug"), Document("x"), "x", None, 3]
        assert shown(*documents) == [("status", {"message": "/a/b"})]

    def test_a_citation_in_the_answer_is_no_link(self) -> None:
        link = "<a href='#' class='citation' id='mark-1'>【1】</a>"
        kept: list[Exchange] = []
        events = shown(chat(f"It boils{link} at <b>."), store=lambda turn, exchange: kept.append(exchange))
        assert events == [("token", {"value": "It boils【1】 at <b>."})]
        assert kept[0].answer == f"It boils{link} at <b>."

    def test_what_is_returned_beside_the_answer(self) -> None:
        quotes = SimpleNamespace(evidences=["it boils"])
        answer = Document("It boils", metadata={"qa_score": 0.912345, "citation": quotes, "mindmap": None})
        assert shown(answer=answer) == [("answer_metadata", {"qa_score": 0.9123, "citations": ["it boils"]})]
        inline = [SimpleNamespace(idx=1, start_phrase="it", end_phrase=None)]
        answer = Document("", metadata={"qa_score": None, "citation": inline})
        assert shown(answer=answer) == [("answer_metadata", {"citations": [{"index": 1, "start": "it"}]})]
        assert shown(answer=Document("", metadata={"qa_score": None, "citation": None})) == []

    def test_an_answer_that_says_nothing(self) -> None:
        assert shown(chat("draft"), chat(None), empty_answer="(Sorry)")[-1] == ("token", {"value": "(Sorry)"})
        assert shown(chat("a"), chat(""), empty_answer="(Sorry)") == [("token", {"value": "a"})]

    def test_any_iterable_will_do(self) -> None:
        pipeline = SimpleNamespace(stream=lambda message, conversation, history: [chat("a"), chat("b")])
        assert text_of(ask(lambda turn: pipeline)) == "ab"


class TestTurn:
    def test_what_a_factory_is_given(self) -> None:
        def factory(turn: KotaemonTurn) -> Pipeline:
            assert threading.current_thread().name == f"turn 1 of {turn.session.id}"
            assert (turn.message, turn.conversation, turn.session.user) == ("Tea?", turn.session.id, None)
            assert [said["content"] for said in turn.history] == [{"text": "Tea?"}]
            turn.session.state["seen"] = True
            turn.conversation = "c1"
            return pipelines[0]

        pipelines = [Pipeline([chat("yes")])]
        assert text_of(ask(factory, {"text": "Tea?"})) == "yes"
        assert pipelines[0].asked == [("Tea?", "c1", [])]

    @pytest.mark.parametrize("content", [" ", 3, ["a"], {"selected": []}, {"content": 3}])
    def test_what_is_no_question(self, content: Any) -> None:
        [_, error] = ask(lambda turn: Pipeline([]), content)
        assert (error["event"], error["data"]["code"], error["data"]["retryable"]) == ("error", "bad_content", False)

    def test_each_turn_has_a_pipeline_of_its_own(self) -> None:
        made: list[Pipeline] = []

        def factory(turn: KotaemonTurn) -> Pipeline:
            made.append(Pipeline([chat(turn.message)]))
            return made[-1]

        async def main() -> list[str]:
            async with talking(kotaemon_app(factory)) as peer:
                said = []
                for content in "one", "two":
                    await peer.ask(content)
                    said.append(text_of(await peer.turn()))
                return said

        assert run(main()) == ["one", "two"]
        assert [len(pipeline.asked) for pipeline in made] == [1, 1]
        assert made[1].asked[0][2] == [("one", "one")]

    def test_numbers_below_1_are_refused(self) -> None:
        with pytest.raises(ConfigError):
            kotaemon_app(lambda turn: None, max_threads=0)

    def test_a_stop_closes_the_pipeline_and_stores_what_was_shown(self) -> None:
        """It is ahead of the reader, who has seen less than it has said."""
        gate, kept = threading.Event(), []

        def documents() -> Iterator[Document]:
            yield info("evidence")
            yield chat("Hello ")
            gate.wait(LONG)
            while True:
                yield chat("never ")

        pipeline = Pipeline(documents())
        generate = kotaemon_app(lambda turn: pipeline, store=lambda turn, exchange: kept.append((turn, exchange)))

        async def main() -> None:
            async with talking(generate) as peer:
                await peer.ask("Tea?")
                while (event := await peer.event())["event"] != "token":
                    pass
                assert event["data"]["value"] == "Hello "
                await peer.send({"event": "stop", "data": {}})
                assert (await peer.turn())[-1]["data"]["status"] == "stopped"
                gate.set()

        run(main())
        assert pipeline.closed
        [(turn, exchange)] = kept
        assert turn.cause == "stopped"
        assert (exchange.question, exchange.answer, exchange.panel) == ("Tea?", "Hello ", "evidence")
        assert (generate.threads.running, generate.threads.orphans) == (0, 0)

    def test_a_store_that_fails_takes_nothing_away(self, caplog: pytest.LogCaptureFixture) -> None:
        def store(turn: KotaemonTurn, exchange: Exchange) -> None:
            raise OSError("no space left")

        with caplog.at_level(logging.ERROR):
            assert text_of(ask(lambda turn: Pipeline([chat("yes")]), store=store)) == "yes"
        assert "was not stored" in caplog.text


class UpstreamError(Exception):
    """As clients of models raise it."""

    def __init__(self, status_code: int | None = None) -> None:
        super().__init__("the key is s3cret")
        self.status_code = status_code


UpstreamError.__module__ = "openai"
APITimeoutError = type("APITimeoutError", (UpstreamError,), {"__module__": "openai"})
ConnectError = type("ConnectError", (UpstreamError,), {"__module__": "httpx"})


def tried_again(last: Exception) -> Exception:
    error = RuntimeError("gave up")
    error.last_attempt = SimpleNamespace(failed=True, exception=lambda: last)  # type: ignore[attr-defined]
    return error


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code", "retryable"),
        [
            (UpstreamError(429), "upstream_rate_limited", True),
            (UpstreamError(503), "upstream_failed", True),
            (UpstreamError(401), "upstream_denied", False),
            (UpstreamError(404), "upstream_not_found", False),
            (UpstreamError(400), "upstream_rejected", False),
            (UpstreamError(), "upstream_failed", True),
            (APITimeoutError(), "upstream_timeout", True),
            (ConnectError(), "upstream_unreachable", True),
            (TimeoutError(), "upstream_timeout", True),
            (ConnectionResetError(), "upstream_unreachable", True),
            (tried_again(UpstreamError(429)), "upstream_rate_limited", True),
            (ValueError("a bug"), "generation_failed", False),
            (TurnError("mine", "so it is", retryable=True), "mine", True),
        ],
    )
    def test_what_a_model_raises_ends_the_turn(
        self, error: Exception, code: str, retryable: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        kept: list[Exchange] = []

        def documents() -> Iterator[Document]:
            yield chat("Half ")
            raise error

        events = ask(lambda turn: Pipeline(documents()), store=lambda turn, exchange: kept.append(exchange))
        data = events[-1]["data"]
        assert (data["code"], data["retryable"], "s3cret" in data["message"]) == (code, retryable, False)
        assert text_of(events) == kept[0].answer == "Half "
        assert all("s3cret" not in record.message for record in caplog.records)

    def test_what_it_was_raised_from_counts(self) -> None:
        def factory(turn: KotaemonTurn) -> Any:
            try:
                raise UpstreamError(429)
            except UpstreamError as exc:
                raise RuntimeError("no embedding") from exc

        assert ask(factory)[-1]["data"]["code"] == "upstream_rate_limited"


class TestTools:
    def test_steps_are_shown(self) -> None:
        def notes(query: str) -> list[str]:
            return [f"{query} wants &lt;water&gt;."]

        plan = [("docsearch", "tea"), ("clock", "noon")]
        events = ask(lambda turn: ReactAgentPipeline.get_pipeline([notes], plan))[1:-1]
        assert [event["event"] for event in events] == "tool tool status tool tool status token".split()
        started, finished, status = (event["data"] for event in events[:3])
        assert started == {"call_id": started["call_id"], "name": "docsearch", "status": "started", "input": "tea"}
        assert finished["call_id"] == started["call_id"]
        assert (finished["status"], finished["output"]) == ("finished", "Content from notes: tea wants <water>.")
        assert status == {"message": "I should ask docsearch."}
        assert events[4]["data"]["output"] == "it is <noon>"
        assert events[-1]["data"]["value"] == "done"

    def test_a_step_that_fails(self) -> None:
        events = ask(lambda turn: ReactAgentPipeline.get_pipeline([], [("clock", "broken")]))
        assert events[2]["data"]["error"] == "clock failed"
        assert events[-1]["data"]["code"] == "generation_failed"

    def test_the_panel_of_an_agent_is_stored(self) -> None:
        kept: list[Exchange] = []
        ask(
            lambda turn: ReactAgentPipeline.get_pipeline([], [("clock", "noon")]),
            store=lambda turn, exchange: kept.append(exchange),
        )
        assert "Step 1" in kept[0].panel

    def test_no_step_begins_once_the_turn_is_over(self) -> None:
        started, gate = threading.Event(), threading.Event()
        shapes.TOOL_REGISTRY["Clock"].calls.clear()

        def before() -> None:
            started.set()
            gate.wait(LONG)

        generate = kotaemon_app(lambda turn: ReactAgentPipeline.get_pipeline([], [("clock", "noon")], before=before))

        async def main() -> None:
            async with talking(generate) as peer:
                await peer.ask("go")
                await asyncio.to_thread(started.wait, LONG)
                await peer.send({"event": "stop", "data": {}})
                events = await peer.turn()
                gate.set()
                assert [event["event"] for event in events] == ["start", "complete"]

        run(main())
        assert shapes.TOOL_REGISTRY["Clock"].calls == []

    def test_two_users_never_see_each_others_documents(self) -> None:
        """Both pipelines are built before either searches: the global tool is then told of the second user's only."""
        both = threading.Barrier(2, timeout=LONG)

        def factory(turn: KotaemonTurn) -> ReactAgentPipeline:
            def documents(query: str) -> list[str]:
                return [f"the secret of {turn.message}"]

            plan = [("docsearch", "secret"), ("docsearch", "again")]
            return ReactAgentPipeline.get_pipeline([documents], plan, before=both.wait)

        async def one(url: str, name: str) -> list[str]:
            async with Peer.connect(url) as peer:
                found = []
                for _ in range(5):
                    await peer.ask(name)
                    found += [event["data"].get("output") for event in await peer.turn() if event["event"] == "tool"]
                return [output for output in found if output is not None]

        async def main() -> list[list[str]]:
            async with Server(kotaemon_app(factory), Config(port=0)) as server:
                return await asyncio.gather(*(one(server.urls[0], name) for name in ("ada", "eve")))

        for name, outputs in zip(("ada", "eve"), run(main()), strict=True):
            assert outputs == [f"Content from notes: the secret of {name}"] * 10

    def test_pipelines_are_built_one_at_a_time(self) -> None:
        """What others do while a pipeline is being built, it could take over."""
        building, most = [0], [0]
        lock = threading.Lock()
        go = threading.Event()

        def factory(turn: KotaemonTurn) -> Pipeline:
            with lock:
                building[0] += 1
                most[0] = max(most[0], building[0])
            go.wait(0.05)
            with lock:
                building[0] -= 1
            return Pipeline([chat("yes")])

        async def one(url: str) -> str:
            async with Peer.connect(url) as peer:
                await peer.ask("go")
                return text_of(await peer.turn())

        async def main() -> list[str]:
            async with Server(kotaemon_app(factory), Config(port=0)) as server:
                return await asyncio.gather(*(one(server.urls[0]) for _ in range(4)))

        assert run(main()) == ["yes"] * 4
        assert most == [1]


class TestConversation:
    def exchange(self, question: str, *documents: Document) -> Exchange:
        kept: list[Exchange] = []
        ask(lambda turn: Pipeline(documents), question, store=lambda turn, exchange: kept.append(exchange))
        return kept[0]

    def test_it_is_kept_as_kotaemon_keeps_it(self) -> None:
        first = self.exchange(
            "one", info("<b>old</b>"), info(None), info("<b>e</b>"), chat("yes"), Document("{}", "plot")
        )
        second = self.exchange("two", chat("no"))
        before = first.data_source({})
        after = second.data_source(
            {**before, "likes": [[0, "x", True]]}, state={"app": {"regen": False}, "simple": {"a": 1}}
        )
        assert after == {
            "selected": {},
            "messages": [["one", "yes"], ["two", "no"]],
            "retrieval_messages": ["<b>e</b>", ""],
            "plot_history": ["{}", None],
            "state": {"app": {"regen": False}, "simple": {"a": 1}},
            "likes": [[0, "x", True]],
        }
        assert before["messages"] == [["one", "yes"]]

    def test_an_exchange_takes_the_place_of_its_question(self) -> None:
        begun = {"messages": [["one", "yes"], ["two", ""], ["three", "!"]], "retrieval_messages": [""]}
        after = self.exchange("two", chat("no")).data_source(begun, 1)
        assert after["messages"] == [["one", "yes"], ["two", "no"], ["three", "!"]]
        assert (after["retrieval_messages"], after["plot_history"]) == (["", ""], [None, None])
        # Somebody else has changed it meanwhile.
        after = self.exchange("two", chat("no")).data_source({"messages": [["one", "yes"]]}, 0)
        assert after["messages"] == [["one", "yes"], ["two", "no"]]

    def test_a_session_goes_on_with_it(self) -> None:
        pipeline = Pipeline([chat("yes")])
        kept = {"messages": [["one", "1"], ["two", ""], ["three", "3"], ["four", None]]}

        async def on_open(session: Any, request: Any) -> None:
            session.history = kotaemon.history(kept)

        async def main() -> None:
            async with talking(kotaemon_app(lambda turn: pipeline), on_open=on_open) as peer:
                await peer.ask("five")
                await peer.turn()

        run(main())
        assert pipeline.asked[0][2] == [("one", "1"), ("three", "3")]


class TestContext:
    """What components tell one another."""

    def test_what_is_set_is_there_for_all(self) -> None:
        one, other = Context(), Context()
        assert one.create_context("run|1") == one.create_context("run|1") == "run|1"
        one.set("a", 1, context="run|1")
        other.set("b", 2, context="run|1")
        assert (other.get("a", context="run|1"), other.get(None, context="run|1")) == (1, {"a": 1, "b": 2})
        assert other.get("a", "nothing") == other.get("a", "nothing", context="run|2") == "nothing"
        other.clear("a", "run|1")
        assert one.get(None, context="run|1") == {"b": 2}
        other.clear(None, "run|1")
        assert (one.has_context("run|1"), one.get(None, context="run|1")) == (True, {})
        assert not one.has_context("run|2")

    def test_what_is_old_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kotaemon_context, "MAX_CONTEXTS", 3)
        context = Context()
        for name in "abcd":
            context.create_context(name)
        assert [context.has_context(name) for name in "abcd"] == [False, True, True, True]


def test_without_kotaemon_its_app_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "theflow", None)
    monkeypatch.setitem(sys.modules, "theflow.settings", None)
    with pytest.raises(ConfigError, match="install its packages"):
        kotaemon.app  # noqa: B018
    with pytest.raises(AttributeError):
        kotaemon.nothing  # noqa: B018
