"""The documents that a pipeline of Kotaemon streams, as what a turn shows. Knows their shape, not the library.

::

    channel  content is None        else
    chat     Reset("answer")        text of the answer
    info     Reset("sources")       Source, or Custom("mindmap", {"markdown": …})
    plot     –                      Custom("plot", {"data": …, "layout": …}), a figure of plotly
    index    –                      Status
    other    –                      –
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..chat.events import Custom, Reset, Source, Status
from .kotaemon_html import evidence, mindmap, without_links

if TYPE_CHECKING:
    from ..chat.events import Item

logger = logging.getLogger(__name__)

#: The longest HTML that travels with a source, in characters: figures are images within it.
MAX_HTML = 100_000


class Shown(NamedTuple):
    """What one document shows, if anything, and what Kotaemon's own page makes of it: `content` on `channel`."""

    item: Item | None
    channel: str
    content: Any  # None: what was there is void


def show(document: Any, *, html: bool = False, step: bool = False) -> Shown | None:
    """What `document` shows; None for what is no document, or is not for the person.

    `html` adds to a source the HTML that it was made of, marked as not to be trusted. A document of the panel that only
    repeats a `step` of an agent is no source.
    """
    channel = getattr(document, "channel", None)
    content: Any = getattr(document, "content", None)
    while hasattr(content, "content") and hasattr(content, "channel"):  # a document around a document
        content = content.content
    if channel == "chat":
        # Never by its truth: an empty text says nothing, None voids the answer.
        if content is None:
            return Shown(Reset("answer"), channel, None)
        return Shown(without_links(str(content)) or None, channel, str(content))
    if channel == "info":
        if content is None:
            return Shown(Reset("sources"), channel, None)
        return Shown(None if step else _panel(str(content), html), channel, str(content))
    if channel == "plot" and content:
        return Shown(_plot(content), channel, content)
    if channel == "index" and content:
        return Shown(Status(str(content)), channel, content)
    return None


def metadata(answer: Any) -> Custom | None:
    """What a pipeline returned beside its answer: how sure it is, and what it quotes; None if it says neither."""
    found = getattr(answer, "metadata", None)
    if not isinstance(found, Mapping):
        return None
    body: dict[str, Any] = {}
    if found.get("qa_score"):
        body["qa_score"] = round(float(found["qa_score"]), 4)
    citation = found.get("citation")
    quotes = [_quote(one) for one in (getattr(citation, "evidences", citation) or ())]
    if quotes:
        body["citations"] = quotes
    return Custom("answer_metadata", body) if body else None


def _panel(content: str, html: bool) -> Item | None:
    markdown = mindmap(content)
    if markdown is not None:
        return Custom("mindmap", {"markdown": markdown})
    found = evidence(content)
    extra: dict[str, Any] = {}
    if found.highlights:
        extra["highlights"] = list(found.highlights)
    if html and len(content) <= MAX_HTML:
        extra |= {"html": content, "trusted": False}
    if not (found.title or found.text or extra):
        return None
    return Source(title=found.title, text=found.text, score=found.score, extra=extra)


def _plot(content: Any) -> Item | None:
    try:
        figure = json.loads(content) if isinstance(content, str | bytes) else content
        if not isinstance(figure, Mapping):
            raise TypeError(f"a figure is an object, not {type(figure).__name__}")
        return Custom("plot", figure)
    except (ValueError, TypeError) as exc:
        logger.warning("a plot was left out: %s", exc)
        return None


def _quote(citation: Any) -> Any:
    """What is quoted: its text, or where it begins and ends."""
    if isinstance(citation, str):
        return citation
    names = {"idx": "index", "start_phrase": "start", "end_phrase": "end"}
    known = {name: getattr(citation, attribute, None) for attribute, name in names.items()}
    return {name: value for name, value in known.items() if value is not None}
