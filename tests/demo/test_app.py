"""The callback of the demo: tool events, sources, quotes; settings; what it says where it cannot answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from wsserver.chat.events import Source, Status
from wsserver.demo import app, check, generate
from wsserver.demo.index import Index
from wsserver.errors import ConfigError, TurnError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wsserver import Turn


@dataclass
class FakeTool:
    log: list[tuple[Any, ...]]

    async def __aenter__(self) -> FakeTool:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.log.append(("left",))

    def finish(self, message: str, *, output: Any = None) -> None:
        self.log.append(("finished", message, output))


@dataclass
class FakeTurn:
    content: Any
    log: list[tuple[Any, ...]] = field(default_factory=list)

    def tool(self, name: str, message: str, *, input: Any = None) -> FakeTool:
        self.log.append((name, message, input))
        return FakeTool(self.log)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pause between words, no folder set, and an index of its own for each test."""
    monkeypatch.delenv("WSSERVER_DEMO_DOCS", raising=False)
    monkeypatch.setenv("WSSERVER_DEMO_PACE", "0")
    app._demo.cache_clear()
    yield
    if app._demo.cache_info().currsize:
        app._demo()[0].close()
    app._demo.cache_clear()


def answer(turn: FakeTurn) -> list[str | Source | Status]:
    async def collect() -> list[str | Source | Status]:
        return [item async for item in generate(cast("Turn", turn))]

    return asyncio.run(collect())


def ask(content: Any) -> str:
    return "".join(item for item in answer(FakeTurn(content)) if isinstance(item, str))


class TestAnswer:
    def test_the_work_is_shown_then_cited_then_quoted(self) -> None:
        turn = FakeTurn("如何申请退款?")
        status, source, *words = answer(turn)
        assert status == Status("Reading the documents…")
        assert isinstance(source, Source)
        assert source.title == "shop-faq-zh.md: 网店常见问题(示例) › 如何申请退款?"
        assert source.text is not None and source.text.startswith("收到商品后")
        assert source.score is not None and source.score > 0
        assert (source.url, source.extra) == (None, {"path": "shop-faq-zh.md"})
        assert turn.log == [
            ("search", "Searching 8 documents…", {"question": "如何申请退款?"}),
            ("finished", "1 passage found", {"passages": [{"title": source.title, "score": source.score}]}),
            ("left",),
        ]
        text = "".join(word for word in words if isinstance(word, str))
        assert text == f"I am no language model; this is what my documents say.\n\n**{source.title}**\n\n{source.text}"
        assert {"退", "款"} <= set(words)

    def test_words_come_one_at_a_time(self) -> None:
        words = [item for item in answer(FakeTurn("How do I stop an answer?")) if isinstance(item, str)]
        assert words[:4] == ["I ", "am ", "no ", "language "]

    def test_every_source_is_quoted(self) -> None:
        items = answer(FakeTurn("slow readers"))
        sources = [item for item in items if isinstance(item, Source)]
        text = "".join(item for item in items if isinstance(item, str))
        assert 1 < len(sources) <= 3
        assert all(source.text is not None and source.text in text for source in sources)

    @pytest.mark.parametrize("question", ["how is it?", "?!", "如何?", "zebra", '"NOT ('])
    def test_nothing_found_is_said(self, question: str) -> None:
        turn = FakeTurn(question)
        text = "".join(item for item in answer(turn) if isinstance(item, str))
        assert text.startswith("I found nothing about that in 8 documents. I am no language model")
        assert turn.log[1] == ("finished", "0 passages found", {"passages": []})

    @pytest.mark.parametrize("content", [7, None, True, ["退款"], {"text": "stop"}])
    def test_what_is_no_text_is_told_what_is_taken(self, content: Any) -> None:
        turn = FakeTurn(content)
        assert "takes a question as text" in str(answer(turn)[0])
        assert turn.log == []

    def test_a_long_question_is_shown_in_part(self) -> None:
        turn = FakeTurn("x" * 65536)
        answer(turn)
        assert len(turn.log[0][2]["question"]) == 1000

    def test_the_pace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)

        monkeypatch.setenv("WSSERVER_DEMO_PACE", "0.5")
        monkeypatch.setattr(asyncio, "sleep", sleep)
        words = [item for item in answer(FakeTurn("nginx")) if isinstance(item, str)]
        assert pauses == [0.5] * len(words)

    def test_the_index_is_read_once_and_off_the_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        threads: list[int] = []
        for name in ("refresh", "search"):
            work = getattr(Index, name)

            def watched(*args: Any, work: Any = work) -> Any:
                threads.append(threading.get_ident())
                return work(*args)

            monkeypatch.setattr(Index, name, watched)
        assert Status("Reading the documents…") in answer(FakeTurn("nginx"))
        assert Status("Reading the documents…") not in answer(FakeTurn("nginx"))
        assert len(threads) == 4
        assert threading.get_ident() not in threads

    def test_turns_at_the_same_time(self) -> None:
        async def collect(turn: FakeTurn) -> list[str | Source | Status]:
            return [item async for item in generate(cast("Turn", turn))]

        async def all_at_once() -> list[list[str | Source | Status]]:
            return await asyncio.gather(*(collect(FakeTurn(question)) for question in ["退款", "nginx"] * 10))

        for number, items in enumerate(asyncio.run(all_at_once())):
            paths = {item.extra["path"] for item in items if isinstance(item, Source)}
            assert paths == ({"deployment.md"} if number % 2 else {"shop-faq-zh.md"})

    def test_it_can_be_ended_at_a_word(self) -> None:
        async def run() -> None:
            turn = generate(cast("Turn", FakeTurn("nginx")))
            while not isinstance(await anext(turn), str):
                continue
            with pytest.raises(asyncio.CancelledError):
                await turn.athrow(asyncio.CancelledError())
            with pytest.raises(StopAsyncIteration):
                await anext(turn)

        asyncio.run(run())


class TestSettings:
    def test_a_folder_of_ones_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "zoo.txt").write_text("A zebra has stripes.")
        monkeypatch.setenv("WSSERVER_DEMO_DOCS", str(tmp_path))
        turn = FakeTurn("zebra")
        assert "A zebra has stripes." in "".join(item for item in answer(turn) if isinstance(item, str))
        assert turn.log[0][1] == "Searching 1 document…"

    def test_an_empty_folder_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSSERVER_DEMO_DOCS", str(tmp_path))
        check()
        assert "Put *.md or *.txt files there" in ask("zebra")
        (tmp_path / "zoo.txt").write_text("A zebra has stripes.")
        assert "stripes" in ask("zebra")

    def test_empty_variables_are_unset(self) -> None:
        assert app.Settings.read({"WSSERVER_DEMO_DOCS": "", "WSSERVER_DEMO_PACE": ""}) == app.Settings()
        assert app.Settings.read({}) == app.Settings(docs=Path(app.__file__).parent / "docs", pace=0.02)

    @pytest.mark.parametrize("pace", ["fast", "-1", "nan", "inf", "11", " "])
    def test_a_pace_that_cannot_work(self, pace: str) -> None:
        with pytest.raises(ConfigError, match="WSSERVER_DEMO_PACE is .* a number from 0 to 10, such as 0.02"):
            app.Settings.read({"WSSERVER_DEMO_PACE": pace})

    @pytest.mark.parametrize("docs", ["nowhere", "~nobody-of-that-name/docs", "x" * 5000], ids=["gone", "home", "long"])
    def test_a_folder_that_is_none(self, docs: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSSERVER_DEMO_DOCS", docs)
        with pytest.raises(
            ConfigError, match=r"WSSERVER_DEMO_DOCS is .* no folder: name one that holds \*.md or \*.txt"
        ):
            check()

    def test_a_turn_then_ends_with_an_error_and_the_log_says_why(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("WSSERVER_DEMO_DOCS", "a/secret/place")
        with pytest.raises(TurnError) as caught:
            ask("zebra")
        assert caught.value.code == "not_configured"
        assert "secret" not in caught.value.message
        assert "a/secret/place" in caplog.text
