"""A conversation as Kotaemon keeps it, and as a session does.

::

    data_source = {
        "messages": [[question, answer], …],     "retrieval_messages": [HTML of the panel, …],
        "plot_history": [figure or None, …],     "selected": {index: [mode, files, user]},
        "state": {"app": {…}, reasoning: {…}},   "likes": […],
    }
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ..errors import TurnError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .kotaemon_documents import Shown


class Exchange:
    """One question and as much of its answer as was shown."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.plot: Any = None
        """The last figure, as the pipeline gave it."""
        self._answer: list[str] = []
        self._panel: list[str] = []

    @property
    def answer(self) -> str:
        """Its text, as the pipeline gave it; of a stopped turn a part."""
        return "".join(self._answer)

    @property
    def panel(self) -> str:
        """The information panel, HTML that nobody has sanitised."""
        return "".join(self._panel)

    def add(self, shown: Shown) -> None:
        """One more document was shown."""
        if shown.channel == "plot":
            self.plot = shown.content
        elif shown.channel in ("chat", "info"):
            parts = self._answer if shown.channel == "chat" else self._panel
            if shown.content is None:
                parts.clear()
            else:
                parts.append(shown.content)

    def data_source(self, before: Mapping[str, Any], index: int | None = None, **changes: Any) -> dict[str, Any]:
        """The `data_source` with this exchange at its end, or in place of the one at `index`; a copy.

        `changes` replace other parts, such as `state`.
        """
        after = {**empty(), **deepcopy(dict(before)), **changes}
        messages = after["messages"]
        if index is None or not (index < len(messages) and messages[index][0] == self.question):
            index = len(messages)
        for name, nothing, value in (
            ("messages", ["", ""], [self.question, self.answer]),
            ("retrieval_messages", "", self.panel),
            ("plot_history", None, self.plot),
        ):
            after[name] += [nothing] * (index + 1 - len(after[name]))
            after[name][index] = value
        return after


def empty() -> dict[str, Any]:
    """Where nothing was said yet."""
    return {
        "selected": {},
        "messages": [],
        "retrieval_messages": [],
        "plot_history": [],
        "state": {"app": {"regen": False}},
        "likes": [],
    }


def pairs(history: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The history of a turn as pipelines take it: what was answered, as far as it was shown."""
    found: list[tuple[str, str]] = []
    question = ""
    for said in history:
        text = _text(said["content"])
        if said["role"] == "user":
            question = text or ""
        elif text:
            found.append((question, text))
            question = ""
    return found


def history(data_source: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation as a session takes it."""
    return [
        {"role": role, "content": text}
        for message in data_source.get("messages", ())
        for role, text in zip(("user", "assistant"), message, strict=False)
        if text
    ]


def question(content: Any) -> str:
    """What is asked. Raises `TurnError` `bad_content` for what is no question."""
    text = _text(content)
    if not (text and text.strip()):
        raise TurnError("bad_content", 'a message is text, or an object such as {"content": "text"}')
    return text


def _text(content: Any) -> str | None:
    if isinstance(content, dict):
        content = content.get("content", content.get("text"))
    return content if isinstance(content, str) else None
