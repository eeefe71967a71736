"""What the information panel shows, as text."""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING

import pytest

from tests.adapters.kotaemon_shapes import MINDMAP, chat, evidence, info
from tests.adapters.kotaemon_talking import shown
from wsserver.adapters import kotaemon_html
from wsserver.adapters.kotaemon_html import mindmap, plain, without_links

if TYPE_CHECKING:
    from wsserver.adapters.kotaemon import Exchange


def test_evidence_is_a_source() -> None:
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


def test_evidence_without_scores_is_a_source() -> None:
    link = '<a href="#" class="pdf-link" data-src="/file=/srv/files/secret">\n [Preview]\n</a>'
    [(_, data)] = shown(info(evidence(f"[Page 3] tea.pdf {link}", "<p>It boils.</p>")))
    assert data == {"title": "[Page 3] tea.pdf", "text": "It boils."}


@pytest.mark.parametrize(
    "body",
    [
        "<b>un<i>closed",
        "</div></p>a",
        "<",
        "&lt;b&gt;",
        "<!-- x",
        "<pre>a\n  b</pre>",
        "a<br>b",
        "<![",
        "<![if x]> a",
        "<![x y",
    ],
)
def test_any_html_has_a_text(body: str) -> None:
    [(name, data)] = shown(info("before " + body))
    assert name == "source"
    assert data["text"].startswith("before")
    assert "\n\n" not in data["text"]


def test_what_is_told_beside_the_evidence() -> None:
    assert shown(info("<h5><b>No evidence found.</b></h5>")) == [("source", {"text": "No evidence found."})]


def test_a_mind_map_is_markdown() -> None:
    assert shown(info(MINDMAP)) == [("mindmap", {"markdown": "# Tea\n## Water"})]
    inside = evidence("tea.md", "<p>x</p>" + MINDMAP)
    assert [name for name, _ in shown(info(inside))] == ["source"]


def test_a_citation_in_the_answer_is_no_link() -> None:
    link = "<a href='#' class='citation' id='mark-1'>【1】</a>"
    kept: list[Exchange] = []
    events = shown(chat(f"It boils{link} at <b>."), store=lambda turn, exchange: kept.append(exchange))
    assert events == [("token", {"value": "It boils【1】 at <b>."})]
    assert kept[0].answer == f"It boils{link} at <b>."


def test_a_marked_section_is_a_comment() -> None:
    assert plain("a <![CDATA[b]]> c <![<![ d> e") == "a c <![ e", "what does not end is text"


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "<",
            "<a ",
            "<a x='",
            '<a x="',
            "</a",
            "<!",
            "<!--",
            "<!-- >",
            "<!-- -- >",
            "<![",
            "<?",
            "<script",
            "<script>",
        ),
        *("<a pdf-link", "<a pdf-link>", " pdf-link", "</summary>", "<mark>", "\n", " ", "---\n", "&", "&#", "<a x='>"),
        *("[score: ", "<div class='evidence-content'>", "<details><summary>", "<a href='#' class='citation' id='mark-"),
    ],
)
def test_whatever_stands_in_a_document_is_looked_at_once(piece: str) -> None:
    hostile = piece * (200_000 // len(piece))
    began = process_time()
    plain(hostile)
    without_links(hostile)
    mindmap(f"<div class='markmap'><script>{hostile}</script>")
    mindmap(f"<div class='markmap'><script>---\n{hostile}</script>")
    for before in ("<details><summary>", "<details><summary></summary><details><summary>"):
        kotaemon_html.evidence(before + hostile)
        kotaemon_html.evidence(f"{before}{hostile}</summary>{hostile}")
        kotaemon_html.evidence(f"{before}{hostile}</summary><div class='evidence-content'>")
    # Where each piece is looked for in all that follows, one of these alone takes minutes.
    assert process_time() - began < 10
