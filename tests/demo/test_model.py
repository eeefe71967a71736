"""The demo with a model, which stands on the loopback."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.endpoint import Endpoint, refuses, says
from tests.peer import Event, Peer, text_of
from wsserver import Config, Server
from wsserver.demo import app, check, generate, model
from wsserver.demo.index import Passage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.adapters.endpoint import Step

#: One passage fits it.
QUESTION = "如何申请退款?"


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An index and a model of its own for each test."""
    monkeypatch.setenv("WSSERVER_DEMO_PACE", "0")
    app._demo.cache_clear()
    model.chat.cache_clear()
    yield
    if app._demo.cache_info().currsize:
        app._demo()[0].close()
    app._demo.cache_clear()
    model.chat.cache_clear()


def ask(monkeypatch: pytest.MonkeyPatch, *script: Step, questions: Any = (QUESTION,)) -> tuple[list[Event], list[Any]]:
    """The events of the last question, and what the model was told each time."""

    async def main() -> tuple[list[Event], list[Any]]:
        async with Endpoint.serve(*script) as endpoint:
            monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
            check()
            async with (
                Server(generate, Config(port=0)) as server,
                Peer.connect(server.urls[0]) as peer,
            ):
                for question in questions:
                    await peer.ask(question)
                    events = await peer.turn()
            return events, [body["messages"] for body in endpoint.bodies]

    return asyncio.run(asyncio.wait_for(main(), 30))


class TestAnswer:
    def test_it_is_given_the_passages_and_cites_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events, [[system, question]] = ask(monkeypatch, says("七天内 ", "[1]。", total_tokens=9))
        assert [event["event"] for event in events] == ("start status tool tool source token token complete".split())
        assert text_of(events) == "七天内 [1]。"
        assert events[-1]["data"]["usage"] == {"total_tokens": 9}
        source = events[4]["data"]
        assert source["path"] == "shop-faq-zh.md"
        assert system["role"] == "system"
        assert f"\n\n[1] {source['title']}\n{source['text']}" in system["content"]
        assert question == {"role": "user", "content": QUESTION}

    def test_it_is_told_the_conversation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events, told = ask(monkeypatch, says("Hello!"), says("By a stop. [1]"), questions=("hi", "How do I stop?"))
        assert text_of(events) == "By a stop. [1]"
        assert told[0][0]["content"].endswith("\n\nNothing was found.")
        assert "[1] stop.md" in told[1][0]["content"]
        assert [message["content"] for message in told[1][1:]] == ["hi", "Hello!", "How do I stop?"]

    def test_one_that_fails_ends_the_turn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events, _ = ask(monkeypatch, *[refuses(503)] * 3)
        assert [event["event"] for event in events][-2:] == ["source", "error"]
        assert events[-1]["data"].items() >= {"code": "upstream_failed", "retryable": True}.items()


def test_passages_are_numbered_as_they_were_shown() -> None:
    found = [Passage(title, f"about {title}", "x.md", 1.0) for title in ("first", "second")]
    [system, _] = model.messages([{"role": "user", "content": "q"}], found)
    assert system["content"].endswith("[1] first\nabout first\n\n[2] second\nabout second")


class TestWhetherThereIsOne:
    def test_without_variables(self) -> None:
        assert model.chat() is None

    def test_a_key_is_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        assert model.chat() is not None

    def test_without_the_package_it_quotes_and_says_why(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setitem(sys.modules, "openai", None)
        check()
        assert "it only quotes" in caplog.text
        assert "pip install 'wsserver[openai]'" in caplog.text
        assert "sk-test" not in caplog.text

        async def main() -> list[Event]:
            async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await peer.ask(QUESTION)
                return await peer.turn()

        assert text_of(asyncio.run(main())).startswith("I am no language model")
