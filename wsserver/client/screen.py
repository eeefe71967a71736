"""What a person sees of a conversation: events → text for a terminal.

Whatever a server sends is text and nothing else: control characters, of which escape sequences are made, are dropped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import Event

#: C0, DEL and C1 but newline and tab.
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))
del _CONTROLS[0x09], _CONTROLS[0x0A]

DIM, RED, BOLD, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[1m", "\x1b[0m"

#: How much of an event is shown that the client does not know, in characters.
_MAX_ASIDE = 200

_TOOL_MARKS = {"started": "·", "progress": "·", "finished": "✓", "failed": "✗"}


def clean(text: object) -> str:
    """The text without control characters."""
    return str(text).translate(_CONTROLS)


def one_line(text: object) -> str:
    """The same with all white space, line ends too, as single spaces."""
    return " ".join(clean(text).split())


def aside(event: Event) -> str | None:
    """What belongs to no question, in one line; None for what a person need not see."""
    data = event.data
    if event.name == "reconnecting":
        return "… reconnecting"
    if event.name == "session":
        return "connected again" if data.get("resumed") is True else "connected again, in a new conversation"
    if event.name == "auth_expiring":
        return f"your login ends in {one_line(data.get('expires_in'))} s"
    if event.turn is not None or event.name in ("drain", "gap", "status"):
        return None
    text = data.get("message") or data.get("text") or json.dumps(data, ensure_ascii=False)
    return f"• {one_line(event.name)}: {one_line(text)[:_MAX_ASIDE]}"


class Screen:
    """Writes by `write`; `colour` says whether it may use escape sequences of its own."""

    def __init__(self, write: Callable[[str], object], *, colour: bool) -> None:
        self._write = write
        self._colour = colour
        self._at_line_start = True
        self._sources: list[dict[str, Any]] = []
        self._show = {
            "token": self._token,
            "tool": self._tool,
            "source": self._source,
            "status": self._status,
            "ask": self._ask,
            "reset": self._reset,
            "gap": self._gap,
            "complete": self._complete,
            "error": self._error,
        }

    def show(self, event: Event) -> None:
        """An event of a turn; what it does not know it leaves out."""
        show = self._show.get(event.name)
        if show is not None:
            show(event.data)

    def line(self, text: str, style: str = "") -> None:
        """A line of its own, below what stands there."""
        self.end_line()
        self._write(f"{style}{text}{_PLAIN}\n" if style and self._colour else f"{text}\n")

    def prompt(self) -> None:
        """Where the person writes next; what is typed ends with a line."""
        self.end_line()
        self._write(f"{BOLD}>{_PLAIN} " if self._colour else "> ")

    def end_line(self) -> None:
        """What comes next begins a line."""
        if not self._at_line_start:
            self._at_line_start = True
            self._write("\n")

    def disturbed(self) -> None:
        """Something else has written to the terminal, like the ^C of Ctrl-C."""
        self._at_line_start = False

    # -- one event each ------------------------------------------------------------------------------------------

    def _token(self, data: dict[str, Any]) -> None:
        text = clean(data.get("value", ""))
        if text:
            self._at_line_start = text.endswith("\n")
            self._write(text)
        if data.get("truncated") is True:
            self.line("[a part of this answer is missing]", DIM)

    def _tool(self, data: dict[str, Any]) -> None:
        status = data.get("status")
        detail = one_line(data.get("message") or data.get("error") or "")
        name = one_line(data.get("name", ""))
        mark = _TOOL_MARKS.get(str(status), "·")
        self.line(f"{mark} {name}: {detail}" if detail else f"{mark} {name}", RED if status == "failed" else DIM)

    def _source(self, data: dict[str, Any]) -> None:
        self._sources.append(data)

    def _status(self, data: dict[str, Any]) -> None:
        self.line(f"… {one_line(data.get('message', ''))}", DIM)

    def _ask(self, data: dict[str, Any]) -> None:
        schema = data.get("schema")
        schema = schema if isinstance(schema, dict) else {}
        wanted = reply.wanted(schema)
        self.line(f"? {one_line(data.get('message', ''))}{f' ({wanted})' if wanted else ''}", BOLD)
        for number, choice in enumerate(reply.choices(schema), 1):
            self.line(f"  {number}) {one_line(choice)}")

    def _gap(self, data: dict[str, Any]) -> None:
        self.line("[some steps of this answer were missed]", DIM)

    def _reset(self, data: dict[str, Any]) -> None:
        if data.get("channel") == "sources":
            self._sources.clear()
        else:
            self.line("[this is withdrawn, the answer begins anew]", DIM)

    def _complete(self, data: dict[str, Any]) -> None:
        self._list_sources()
        status = data.get("status")
        if status in ("stopped", "interrupted"):
            self.line(f"[{status}]", DIM)

    def _error(self, data: dict[str, Any]) -> None:
        self._list_sources()
        self.failure(str(data.get("message") or data.get("code")), retryable=data.get("retryable") is True)

    def failure(self, message: str, *, retryable: bool) -> None:
        """A question that got no answer, or none to its end."""
        self.line(f"✗ {one_line(message)}{' (you can ask again)' if retryable else ''}", RED)

    def _list_sources(self) -> None:
        self.end_line()
        sources, self._sources = self._sources, []
        if sources:
            self.line("")
        for number, source in enumerate(sources, 1):
            parts = [one_line(source.get("title") or source.get("text") or source.get("url") or "a source")[:200]]
            score = source.get("score")
            if isinstance(score, int | float):
                parts.append(f"({score:.2f})")
            if source.get("title") and source.get("url"):
                parts.append(one_line(source["url"]))
            self.line(f"[{number}] {' '.join(parts)}", DIM)
