"""The documents that a pipeline streams, as what a turn shows."""

from __future__ import annotations

from pathlib import PosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tests.adapters.kotaemon_shapes import Document, chat, evidence, info
from tests.adapters.kotaemon_talking import shown

if TYPE_CHECKING:
    import pytest

    pass


def test_an_answer_is_said() -> None:
    assert shown(chat("Tea "), chat(""), chat("wants"), chat(3)) == [
        ("token", {"value": "Tea "}),
        ("token", {"value": "wants"}),
        ("token", {"value": "3"}),
    ]


def test_none_voids_and_nothing_else_does() -> None:
    """An empty text is no None: both are false."""
    events = shown(chat("draft"), chat(""), chat(None), chat("final"), info("a"), info(""), info(None), info("b"))
    assert [name for name, _ in events] == "token reset token source reset source".split()
    assert [data["channel"] for name, data in events if name == "reset"] == ["answer", "sources"]


def test_html_comes_only_where_it_is_wanted_and_is_marked() -> None:
    hostile = evidence("tea.md", "<script>alert(1)</script><img src=x onerror=alert(1)>It boils.")
    [(_, data)] = shown(info(hostile))
    assert data == {"title": "tea.md", "text": "It boils."}
    [(_, data)] = shown(info(hostile), html=True)
    assert data == {"title": "tea.md", "text": "It boils.", "html": hostile, "trusted": False}
    [(_, data)] = shown(info("<img src='data:" + "A" * 200_000 + "'>a figure"), html=True)
    assert data == {"text": "a figure"}


def test_a_figure_is_a_plot(caplog: pytest.LogCaptureFixture) -> None:
    figure = {"data": [{"x": [1]}], "layout": {}}
    documents = ['{"data": [{"x": [1]}], "layout": {}}', figure, "", None, "no JSON", "[1]"]
    assert shown(*(Document(content, "plot") for content in documents)) == [("plot", figure), ("plot", figure)]
    assert len([record for record in caplog.records if "plot" in record.message]) == 2


def test_other_channels() -> None:
    documents = [Document(PosixPath("/a/b"), "index"), Document("x", "debug"), Document("x"), "x", None, 3]
    assert shown(*documents) == [("status", {"message": "/a/b"})]


def test_what_is_returned_beside_the_answer() -> None:
    quotes = SimpleNamespace(evidences=["it boils"])
    answer = Document("It boils", metadata={"qa_score": 0.912345, "citation": quotes, "mindmap": None})
    assert shown(answer=answer) == [("answer_metadata", {"qa_score": 0.9123, "citations": ["it boils"]})]
    inline = [SimpleNamespace(idx=1, start_phrase="it", end_phrase=None)]
    answer = Document("", metadata={"qa_score": None, "citation": inline})
    assert shown(answer=answer) == [("answer_metadata", {"citations": [{"index": 1, "start": "it"}]})]
    assert shown(answer=Document("", metadata={"qa_score": None, "citation": None})) == []
