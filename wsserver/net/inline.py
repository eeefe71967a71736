"""Coroutines that wait for nothing need no task."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


def run_through(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that waits for nothing: it needs no task."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("this coroutine was to wait for nothing")
