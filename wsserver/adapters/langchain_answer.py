"""The text of a turn, put together from what several models and nodes say.

What they say beside one another is shown one after another: who began first is heard to the end. Some of it turns out
to be void: what a model said before it failed, once another one answers in its place, and what a node of a graph said
that runs again from its beginning, as it does after an interrupt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..chat.events import Reset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..chat.events import Item

#: Between what is said by different ones.
BREAK = "\n\n"


class _Part:
    """What one of them says; the first `shown` pieces of it were shown."""

    __slots__ = ("ended", "key", "pieces", "round", "shown", "task", "whole")

    def __init__(self, key: str, task: str, round: int) -> None:
        self.key = key
        self.task = task
        self.round = round
        self.pieces: list[str] = []
        self.shown = 0
        self.ended = False
        self.whole = False  # not of a model

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Answer:
    """`failed` holds the keys of those that failed; others add to it."""

    def __init__(self, failed: set[str]) -> None:
        self._failed = failed
        self._parts: list[_Part] = []
        self._round = 0
        self._tail = ""  # the last that was shown

    def begin(self) -> None:
        """A run begins, after an interrupt perhaps."""
        self._round += 1

    def add(self, key: str, task: str, text: str) -> Iterator[Item]:
        """More of what `key` says, for the task `task` of a graph ("" where there is none); what to show now."""
        if not text or key in self._failed:
            return
        part = next((part for part in self._parts if part.key == key), None)
        if part is None:
            yield from self._void(task)
            part = _Part(key, task, self._round)
            self._parts.append(part)
        part.pieces.append(text)
        yield from self._go_on()

    def end(self, key: str | None = None) -> Iterator[Item]:
        """This one says no more, or none does; what to show now."""
        for part in self._parts:
            if key is None or part.key == key:
                part.ended = True
        yield from self._go_on()

    def whole(self, key: str, task: str, text: str) -> Iterator[Item]:
        """All that a task says, unless a model, or a task within it, has said just this; what to show now."""
        for part in self._parts:
            within = not part.whole or part.task.startswith(f"{task}|")
            if within and part.text.strip() == text.strip():
                return
        yield from self.add(key, task, text)
        if self._parts and self._parts[-1].key == key:
            self._parts[-1].whole = True
        yield from self.end(key)

    def _void(self, task: str) -> Iterator[Item]:
        void = [
            part
            for part in self._parts
            if part.key in self._failed or (task and part.task == task and part.round < self._round)
        ]
        if not void:
            return
        self._parts = [part for part in self._parts if part not in void]
        if any(part.shown for part in void):
            yield Reset("answer")
            self._tail = ""
            for part in self._parts:
                part.shown = 0
            yield from self._go_on()

    def _go_on(self) -> Iterator[Item]:
        for part in self._parts:
            new = "".join(part.pieces[part.shown :])
            if new:
                if not part.shown and self._tail and not self._tail[-1].isspace() and not new[0].isspace():
                    new = BREAK + new
                part.shown = len(part.pieces)
                self._tail = new
                yield new
            if not part.ended and part.key not in self._failed:
                return
