"""A conversation as Kotaemon keeps it, and as a session goes on with it."""

from __future__ import annotations

from typing import Any

from tests.adapters.kotaemon_shapes import Document, Pipeline, chat, info
from tests.adapters.kotaemon_talking import ask, talking
from tests.adapters.running import run
from wsserver.adapters import kotaemon
from wsserver.adapters.kotaemon import Exchange, kotaemon_app


def test_what_was_voided_is_not_in_the_history() -> None:
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
