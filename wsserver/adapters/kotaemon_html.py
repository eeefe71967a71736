"""What Kotaemon's information panel shows, which is HTML that nobody has sanitised, as plain text.

::

    <details class='evidence' open><summary>header</summary>
        <details class='evidence'>scores</details>          with scores only
        <div class='evidence-content'>body</div>            with scores only, else the bare body
    </details><br>

Documents are anybody's, so none of what looks at them looks at a part again and again, whatever stands there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

#: What begins on a line of its own, and what is not for reading.
_BLOCKS = frozenset(
    "address article aside blockquote br dd details div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr"
    " li main ol p pre section summary table tr ul".split()
)
_UNREAD = frozenset(("script", "style", "template", "title"))
_CELLS = frozenset(("td", "th"))

_EVIDENCE = re.compile(r"\s*<details\b[^>]*>\s*<summary>(.*?)</summary>", re.S)
_SCORES = re.compile(r"\s*<details\b[^>]*>\s*<summary>(?>.*?</summary>)(?>.*?</details>)(?:\s*<br>)?", re.S)
_CONTENT = re.compile(r"<div class='evidence-content'>")
_SCORE = re.compile(r"\s*\[score: (-?\d+(?:\.\d+)?)\]")
_PREVIEW = re.compile(r"<a\b(?=[^<>]*\bpdf-link\b)[^<>]*+>(?:(?!<a\b).)*?</a>", re.S)
_MARKMAP = re.compile(r"\s*<div class=[\"']markmap[\"']>\s*<script[^>]*>(.*?)</script>", re.S)
_FRONT_MATTER = re.compile(r"\s*---\n.*?\n[ \t]*---\n", re.S)
#: What begins no tag, because another one begins before it ends: the parser would look for its end in all that follows.
_NO_TAG = re.compile(r"<(?![^<>]*>)")
#: The link that stands for a citation within an answer.
_CITATION = re.compile(r"<a href='#' class='citation' id='mark-[^'<>]*'>([^<>]*)</a>")


@dataclass(frozen=True)
class Evidence:
    """A part of the panel. `score` is how relevant it was found, from 0 to 1; `highlights` is what was quoted of it."""

    title: str | None
    text: str
    score: float | None
    highlights: tuple[str, ...]


def evidence(html: str) -> Evidence:
    """What one document of the panel says. Without a header there is no title."""
    title, score, body = None, None, html
    if header := _EVIDENCE.match(html):
        title = plain(_PREVIEW.sub("", header[1])).replace("\n", " ")
        if found := _SCORE.search(title):
            score = float(found[1])
            title = _SCORE.sub("", title)
        body = html[header.end() :]
        if content := _CONTENT.search(body):
            if _SCORES.match(body[: content.start()]):
                body = body[content.end() :]
    reader = _read(body)
    return Evidence(title or None, reader.text(), score, tuple(filter(None, map(_one_line, reader.marked))))


def mindmap(html: str) -> str | None:
    """The Markdown of a mind map, None for what is none."""
    header = _EVIDENCE.match(html)
    # Only at the very beginning: the text of a document may hold anything.
    found = _MARKMAP.match(html, header.end() if header else 0)
    if found is None:
        return None
    matter = _FRONT_MATTER.match(found[1])
    lines = found[1][matter.end() if matter else 0 :].splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


def plain(html: str) -> str:
    """The text of any HTML, block by block on lines of their own; what is no text, such as an image, is left out."""
    return _read(html).text()


def without_links(answer: str) -> str:
    """An answer whose links to citations are what they show; the rest of it is not HTML, and stays as it is."""
    return _CITATION.sub(r"\1", answer)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.marked: list[str] = []  # what <mark> holds
        self._parts: list[str] = []
        self._unread = 0
        self._marks = 0
        self._literal = 0  # within <pre>, where white space counts

    def text(self) -> str:
        lines = "".join(self._parts).split("\n")
        return "\n".join(line for line in (part.rstrip() for part in lines) if line.strip()).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNREAD:
            self._unread += 1
        elif tag in _BLOCKS:
            self._parts.append("\n")
            self._literal += tag == "pre"
        elif tag in _CELLS:
            self._add(" ")
        elif tag == "mark":
            self._marks += 1
            self.marked.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNREAD:
            self._unread = max(0, self._unread - 1)
        elif tag in _BLOCKS:
            self._parts.append("\n")
            self._literal = max(0, self._literal - (tag == "pre"))
        elif tag == "mark":
            self._marks = max(0, self._marks - 1)

    def handle_data(self, data: str) -> None:
        if self._unread:
            return
        self._add(data if self._literal else re.sub(r"\s+", " ", data))
        if self._marks:
            self.marked[-1] += data

    def _add(self, text: str) -> None:
        if not self._literal and self._parts and self._parts[-1][-1:].isspace():
            text = text.lstrip()
        if text:
            self._parts.append(text)


def _read(html: str) -> _Reader:
    # Of comments that do not end the parser would look for each one's end, too.
    ended = html.rfind("-->") + 1
    html = html[:ended] + html[ended:].replace("<!--", "&lt;!--")
    reader = _Reader()
    # A marked section that is none makes the parser raise AssertionError; to HTML each is a comment.
    reader.feed(_NO_TAG.sub("&lt;", html).replace("<![", "<! ["))
    reader.close()
    return reader


def _one_line(text: str) -> str:
    return " ".join(text.split())
