"""What the components of a run tell one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsserver.adapters import kotaemon_context
from wsserver.adapters.kotaemon_context import Context

if TYPE_CHECKING:
    import pytest


def test_what_is_set_is_there_for_all() -> None:
    one, other = Context(), Context()
    assert one.create_context("run|1") == one.create_context("run|1") == "run|1"
    one.set("a", 1, context="run|1")
    other.set("b", 2, context="run|1")
    assert (other.get("a", context="run|1"), other.get(None, context="run|1")) == (1, {"a": 1, "b": 2})
    assert other.get("a", "nothing") == other.get("a", "nothing", context="run|2") == "nothing"
    other.clear("a", "run|1")
    assert one.get(None, context="run|1") == {"b": 2}
    other.clear(None, "run|1")
    assert (one.has_context("run|1"), one.get(None, context="run|1")) == (True, {})
    assert not one.has_context("run|2")


def test_what_is_old_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kotaemon_context, "MAX_CONTEXTS", 3)
    context = Context()
    for name in "abcd":
        context.create_context(name)
    assert [context.has_context(name) for name in "abcd"] == [False, True, True, True]
