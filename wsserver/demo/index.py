"""Full-text search over the text and Markdown files of a folder, by SQLite's FTS5, in memory.

Nothing here knows of asyncio: `refresh` and `search` block, and may be called from any thread.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wsserver.demo.text import passages, spaced, terms
from wsserver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

_SUFFIXES = (".md", ".txt")

#: `heading` and `body` are what is searched: a passage's own heading, and all else. The others are shown.
_SCHEMA = """
CREATE VIRTUAL TABLE passages USING fts5(
    heading, body, title UNINDEXED, text UNINDEXED, path UNINDEXED,
    tokenize = 'porter unicode61 remove_diacritics 2'
)
"""

#: bm25 is lower where a passage fits better; a word in the heading counts for two in the body.
_SEARCH = """
SELECT title, text, path, -bm25(passages, 2.0, 1.0) AS score
FROM passages WHERE passages MATCH ? ORDER BY score DESC, rowid LIMIT ?
"""

#: A passage with less than this part of the best one's score is beside the point.
_ENOUGH = 1 / 3

#: Modification time (ns) and size (bytes): a file that has both as before is not read again.
Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: `title` names file and heading, `path` is relative to the folder.

    The higher its `score`, the better it fits; scores of different questions do not compare.
    """

    title: str
    text: str
    path: str
    score: float


class Index:
    """The passages of a folder. Empty until the first `refresh`; close it when done."""

    def __init__(self, folder: Path) -> None:
        """Raises `ConfigError` where this Python's SQLite has no FTS5."""
        self.folder = folder
        self._stamps: dict[str, Stamp] = {}
        self._lock = threading.Lock()  # one thread at a time, whatever this SQLite was built for
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            self._database.execute(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._database.close()
            raise ConfigError(
                f"the demo needs SQLite with FTS5, and this Python's has none ({error}):"
                " use another build of Python, or serve a callback of your own: wsserver serve module:generate"
            ) from error

    @property
    def documents(self) -> int:
        """How many files the index holds."""
        return len(self._stamps)

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._database.close()

    def refresh(self) -> int:
        """Read what is new or changed, forget what is gone; returns how many files the index holds.

        A file that cannot be read is left out, with a warning, and tried again next time.
        """
        with self._lock, self._database:
            stamps = dict(self._stamps)
            files = dict(_files(self.folder))
            for path in stamps.keys() - files.keys():
                self._drop(path)
                del stamps[path]
            for path, stamp in files.items():
                if stamps.get(path) == stamp:
                    continue
                if stamps.pop(path, None):
                    self._drop(path)
                try:
                    text = (self.folder / path).read_text(encoding="utf-8-sig", errors="replace")
                except OSError as error:
                    logger.warning("the demo leaves out a document: %s", error)
                    continue
                self._add(path, text)
                stamps[path] = stamp
            self._stamps = stamps
        return len(stamps)

    def search(self, question: str, limit: int = 3) -> list[Passage]:
        """The passages that fit best, best first: those with any term of the question, ranked by bm25.

        Takes any text. What fits far worse than the best is left out. Empty if nothing fits, or if the
        question names no subject ("how is it?").
        """
        query = " OR ".join(f'"{term}"' for term in terms(question))
        if not query:
            return []
        with self._lock:
            found = [Passage(*row) for row in self._database.execute(_SEARCH, (query, limit))]
        return [passage for passage in found if passage.score >= found[0].score * _ENOUGH]

    def _add(self, path: str, text: str) -> None:
        shown = _shown(path)
        rows = (
            (
                spaced(own),
                spaced(f"{shown} {above}\n{passage}"),
                f"{shown}: {heading}" if heading else shown,
                passage,
                shown,
            )
            for heading, passage in passages(text, markdown=path.lower().endswith(".md"))
            for above, _, own in [heading.rpartition(" › ")]
        )
        self._database.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?)", rows)

    def _drop(self, path: str) -> None:
        self._database.execute("DELETE FROM passages WHERE path = ?", (_shown(path),))


def _files(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """(path in the folder, stamp) of each document, in order; what begins with a dot is left alone."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not name.lower().endswith(_SUFFIXES):
                continue
            file = os.path.join(root, name)
            try:
                status = os.stat(file)
            except OSError as error:
                logger.warning("the demo leaves out a document: %s", error)
                continue
            if stat.S_ISREG(status.st_mode):
                yield os.path.relpath(file, folder), (status.st_mtime_ns, status.st_size)


def _shown(path: str) -> str:
    """The path as text, with forward slashes; a name that is not UTF-8 holds what neither SQLite nor JSON takes."""
    return path.replace(os.sep, "/").encode("utf-8", "replace").decode()
