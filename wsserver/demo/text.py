"""Text for the index and for the eye: passages, search terms, pieces to stream.

Pure functions over strings. Chinese and Japanese get along without spaces, so the index sees each of their
characters (and of Korean ones) as a word of its own, and a question becomes pairs of neighbours: 退款 is found
in 如何申请退款.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Characters: what a passage holds at most, what is shown of a heading, what is read of a question.
PASSAGE, HEADING, QUESTION = 800, 120, 1000

#: Search terms: what one question may ask of the index at most.
TERMS = 64

#: Han, kana, bopomofo and Hangul, without their punctuation, as the inside of a character class.
_CJK = (
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u318f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7fb\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_CHARACTER = re.compile(f"[{_CJK}]")
_RUN = re.compile(f"[{_CJK}]+|[^\\s{_CJK}]+")
_PIECE = re.compile(f"[{_CJK}]\\s*|[^\\s{_CJK}]+\\s*|\\s+")

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")

#: Words that stand in any question and say nothing of its subject; an apostrophe leaves the single letters.
_STOP_WORDS = frozenset(
    "a about all am an and any are as at be because been but by can could d did do does doing for from get had"
    " has have he her here him his how i if in into is it its just ll m may me might must my no not of on or our"
    " out please re s shall she should so some such t tell than that the their them then there these they this"
    " those to too us ve very was we were what when where which who whom whose why will with would you"
    " your".split()
)
_CJK_QUESTION_WORDS = re.compile("请问|为什么|什么|如何|怎么样|怎么|怎样|哪里|哪些|是否|能否|可以|多少|吗|呢")


def spaced(text: str) -> str:
    """The text as the index reads it: in one normal form, each CJK character between spaces."""
    return _CHARACTER.sub(r" \g<0> ", unicodedata.normalize("NFKC", text))


def terms(question: str) -> list[str]:
    """What to search for, each once: words, and pairs of neighbouring CJK characters ("退 款").

    Holds letters, digits and marks only, so that quoting a term makes it safe whatever the question was.
    Empty if nothing of the question tells its subject.
    """
    text = unicodedata.normalize("NFKC", question[:QUESTION]).lower()
    text = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
    found: dict[str, None] = {}
    for run in _RUN.findall(_CJK_QUESTION_WORDS.sub(" ", text)):
        if not _CHARACTER.match(run):
            if run not in _STOP_WORDS:
                found[run] = None
        elif len(run) == 1:
            found[run] = None
        else:
            found.update((f"{left} {right}", None) for left, right in zip(run, run[1:], strict=False))
    return list(found)[:TERMS]


def pieces(text: str) -> list[str]:
    """The text cut for streaming: one word, or one CJK character, with the white space that follows it."""
    return _PIECE.findall(text)


def passages(text: str, *, markdown: bool) -> Iterator[tuple[str, str]]:
    """Cut a document to passages of at most `PASSAGE` characters.

    Yields (heading, passage): neighbouring paragraphs under one heading are kept together while they fit, and
    the heading names those above it too, "Limits › Slow readers". It is "" before the first one, and always
    where the document is not Markdown. A heading with nothing beneath it is no passage.
    """
    heading, passage = "", ""
    for above, paragraph in _paragraphs(text, markdown):
        if passage and (above != heading or len(passage) + 2 + len(paragraph) > PASSAGE):
            yield heading, passage
            passage = ""
        heading = above
        *full, rest = _cut(paragraph)
        for part in full:
            yield heading, part
        passage = f"{passage}\n\n{rest}" if passage else rest
    if passage:
        yield heading, passage


def _paragraphs(text: str, markdown: bool) -> Iterator[tuple[str, str]]:
    """(heading, paragraph): what blank lines and headings separate. Fenced code is never taken apart here."""
    trail: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""
    for line in [*text.splitlines(), ""]:
        if fence:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif markdown and (mark := _FENCE.match(line)):
            fence = mark[1]
        elif not line.strip() or (markdown and _HEADING.match(line)):
            if lines:
                yield " › ".join(name for _, name in trail), "\n".join(lines)
                lines = []
            if title := _HEADING.match(line):
                level = len(title[1])
                trail = [above for above in trail if above[0] < level]
                trail.append((level, _heading(title[2])))
            continue
        lines.append(line.rstrip())
    if lines:
        yield " › ".join(name for _, name in trail), "\n".join(lines).rstrip()


def _heading(text: str) -> str:
    """The words of a heading, without the closing sequence of "## Limits ##"."""
    text = text.rstrip()
    words, _, closing = text.rpartition(" ")
    return (text if closing.strip("#") else words.rstrip() or text)[:HEADING]


def _cut(paragraph: str) -> list[str]:
    """One part or more, none longer than `PASSAGE`, cut where a line, a sentence or a word ends if one does."""
    parts, start = [], 0
    while len(paragraph) - start > PASSAGE:
        end = start + PASSAGE
        for mark in ("\n", "。", ". ", " "):
            at = paragraph.rfind(mark, start + PASSAGE // 2, end)
            if at >= 0:
                end = at + len(mark)
                break
        parts.append(paragraph[start:end].strip())
        start = end
    parts.append(paragraph[start:].rstrip())
    return [part for part in parts if part]
