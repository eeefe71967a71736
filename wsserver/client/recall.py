"""After a hole in the events: what is still to be told of a question, from the server's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .events import Event

if TYPE_CHECKING:
    from .inbox import Question

#: How a turn ended, in the history, and the final event that says so.
_FAILED = {
    "code": "generation_failed",
    "message": "the answer failed while the connection was away",
    "retryable": False,
    "final": True,
}
_FORGOTTEN = {
    "code": "turn_lost",
    "message": "the answer ended while the connection was away, and the server does not remember it",
    "retryable": True,
    "final": True,
}


def recall(history: dict[str, Any], question: Question, *, ending: bool = False) -> list[Event] | None:
    """The events that bring `question`, whose turn is known, to where `history` is; None if its turn has not begun.

    `ending` says that its final event is at hand; else the last event is final where the turn is over. Text comes as
    the token that is missing, or as a `reset` and the whole.
    """
    turn, shown = question.turn, question.shown
    active = history.get("active")
    active = active if isinstance(active, dict) else {}
    now = active.get("turn")
    if now == turn:
        unseen = [ask for ask in _objects(active.get("asks")) if str(ask.get("call_id")) not in question.calls]
        return [*_text(active, "text", turn, shown), *(Event("ask", dict(ask), turn) for ask in unseen)]
    # From the end: the application may have brought entries of its own along, and numbered them as it likes.
    for item in reversed(_objects(history.get("items"))):
        if item.get("turn") == turn and item.get("role") == "assistant":
            text = _text(item, "content", turn, shown)
            return text if ending else [*text, _final(item.get("status"), turn)]
    waiting = history.get("waiting")
    waits = (isinstance(waiting, list) and turn in waiting) or (
        isinstance(now, int) and isinstance(turn, int) and turn > now
    )
    if ending or waits:
        # It was stopped before it began, or has not begun.
        return None
    return [Event("error", dict(_FORGOTTEN), turn)]


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; there are none in what is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(item: dict[str, Any], name: str, turn: int | None, shown: str) -> list[Event]:
    whole = str(item.get(name) or "")
    cut = {"truncated": True} if item.get("truncated") is True else {}
    if whole.startswith(shown):
        rest = whole[len(shown) :]
        return [Event("token", {"value": rest, **cut}, turn)] if rest or cut else []
    if cut and shown.startswith(whole):
        # All that the server still has was shown. What came between that and now is missing.
        return [Event("token", {"value": "", **cut}, turn)]
    return [Event("reset", {"channel": "answer"}, turn), Event("token", {"value": whole, **cut}, turn)]


def _final(status: object, turn: int | None) -> Event:
    if status == "failed":
        return Event("error", dict(_FAILED), turn)
    return Event("complete", {"status": status, "final": True}, turn)
