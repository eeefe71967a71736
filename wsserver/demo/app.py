"""The callback of the demo: search the documents, cite what was found, and answer from it.

A model answers where `OPENAI_BASE_URL` or `OPENAI_API_KEY` is set. Where none is, the demo quotes what it found
word by word, and says that no language model stands behind it. What a client sees is the same: tool events, sources,
tokens. Set by two more variables of the environment:

- `WSSERVER_DEMO_DOCS`: a folder with *.md and *.txt files; by default the documentation of wsserver.
- `WSSERVER_DEMO_PACE`: seconds between two words of a quotation, 0.02 by default.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wsserver.chat.events import Source, Status
from wsserver.demo import model
from wsserver.demo.index import Index, Passage
from wsserver.demo.text import QUESTION, pieces
from wsserver.errors import ConfigError, TurnError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from wsserver.chat.turn import Turn

logger = logging.getLogger(__name__)

_DOCS = Path(__file__).parent / "docs"
_PACE = 0.02
_MAX_PACE = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the documents are, and the seconds between two words."""

    docs: Path = _DOCS
    pace: float = _PACE

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """From variables of the environment, empty ones being unset. Raises `ConfigError` that says what to do."""
        docs = environ.get("WSSERVER_DEMO_DOCS")
        if docs and not os.path.isdir(os.path.expanduser(docs)):
            raise ConfigError(
                f"WSSERVER_DEMO_DOCS is {docs!r}, which is no folder: name one that holds *.md or *.txt files,"
                " or unset it to search the documentation of wsserver"
            )
        pace = environ.get("WSSERVER_DEMO_PACE")
        return cls(
            docs=Path(os.path.expanduser(docs)) if docs else _DOCS,
            pace=_seconds(pace) if pace else _PACE,
        )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MAX_PACE:
        raise ConfigError(
            f"WSSERVER_DEMO_PACE is {text!r}: give the seconds between two words,"
            f" a number from 0 to {_MAX_PACE:g}, such as {_PACE:g}"
        )
    return value


def check() -> None:
    """Raise `ConfigError` now rather than at the first question, if the demo cannot work as it is set."""
    _demo()
    model.chat()


@cache
def _demo() -> tuple[Index, Settings]:
    """One index for all turns of the process, made when first needed. A failure is not kept: it is tried again."""
    settings = Settings.read(os.environ)
    return Index(settings.docs), settings


async def generate(turn: Turn) -> AsyncGenerator[str | Source | Status, None]:
    """Answer a question from the passages that fit it best.

    Raises `TurnError` where the demo is set wrongly, or the model cannot answer.
    """
    question = turn.content
    if not isinstance(question, str):
        yield (
            "This demo takes a question as text, and your message holds something else. Send for example"
            ' {"event":"message","data":{"content":"How do I stop an answer?"}}.'
        )
        return
    try:
        index, settings = _demo()
    except ConfigError as error:
        logger.error("%s", error)
        raise TurnError("not_configured", "The demo is not set up: the log of the server says what to do.") from error

    if not index.documents:
        yield Status("Reading the documents…")
    count = await asyncio.to_thread(index.refresh)
    if not count:
        yield (
            "This demo quotes documents, and its folder holds none. Put *.md or *.txt files there and ask again,"
            " or start the server with WSSERVER_DEMO_DOCS set to a folder that has some."
        )
        return

    documents = _count(count, "document")
    async with turn.tool("search", f"Searching {documents}…", input={"question": question[:QUESTION]}) as tool:
        found = await asyncio.to_thread(index.search, question)
        tool.finish(
            f"{_count(len(found), 'passage')} found",
            output={"passages": [{"title": passage.title, "score": passage.score} for passage in found]},
        )
    for passage in found:
        yield Source(passage.title, passage.text, None, passage.score, extra={"path": passage.path})
    chat = model.chat()
    if chat is not None:
        await chat.answer(turn, model.messages(turn.history or [{"role": "user", "content": question}], found))
        return
    for piece in pieces(_answer(found, documents)):
        yield piece
        await asyncio.sleep(settings.pace)


def _answer(found: list[Passage], documents: str) -> str:
    """What is said to the person, in Markdown."""
    if not found:
        return (
            f"I found nothing about that in {documents}. I am no language model: I look for the words of your"
            " question and quote what holds them, so ask with the words that a document would use."
        )
    opening = "I am no language model; this is what my documents say."
    return "\n\n".join([opening, *(f"**{passage.title}**\n\n{passage.text}" for passage in found)])


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
