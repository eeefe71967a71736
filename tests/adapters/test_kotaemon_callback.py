"""A turn in a thread of its own, from its pipeline to what is stored."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tests.adapters.kotaemon_shapes import Document, Pipeline, chat, info
from tests.adapters.kotaemon_talking import ask, shown, talking
from tests.adapters.running import LONG, run
from tests.peer import text_of
from wsserver.adapters.kotaemon import Exchange, KotaemonTurn, kotaemon_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


def test_an_answer_that_says_nothing() -> None:
    assert shown(chat("draft"), chat(None), empty_answer="(Sorry)")[-1] == ("token", {"value": "(Sorry)"})
    assert shown(chat("a"), chat(""), empty_answer="(Sorry)") == [("token", {"value": "a"})]


def test_any_iterable_will_do() -> None:
    pipeline = SimpleNamespace(stream=lambda message, conversation, history: [chat("a"), chat("b")])
    assert text_of(ask(lambda turn: pipeline)) == "ab"


def test_each_turn_has_a_pipeline_of_its_own() -> None:
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


def test_a_stop_closes_the_pipeline_and_stores_what_was_shown() -> None:
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


def test_a_store_that_fails_takes_nothing_away(caplog: pytest.LogCaptureFixture) -> None:
    def store(turn: KotaemonTurn, exchange: Exchange) -> None:
        raise OSError("no space left")

    with caplog.at_level(logging.ERROR):
        assert text_of(ask(lambda turn: Pipeline([chat("yes")]), store=store)) == "yes"
    assert "was not stored" in caplog.text
