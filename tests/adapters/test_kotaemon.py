"""Kotaemon's pipelines as callbacks, by objects of their shape; the real ones are asked in `tests/real/kotaemon`."""

from __future__ import annotations

import sys

import pytest

from wsserver import ConfigError
from wsserver.adapters import kotaemon
from wsserver.adapters.kotaemon import kotaemon_app


def test_numbers_below_1_are_refused() -> None:
    with pytest.raises(ConfigError):
        kotaemon_app(lambda turn: None, max_threads=0)


def test_without_kotaemon_its_app_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "theflow", None)
    monkeypatch.setitem(sys.modules, "theflow.settings", None)
    with pytest.raises(ConfigError, match="install its packages"):
        kotaemon.app  # noqa: B018
    with pytest.raises(AttributeError):
        kotaemon.nothing  # noqa: B018
