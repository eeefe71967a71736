"""What the tests of the network share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoints on this machine are asked directly, whatever the environment says."""
    monkeypatch.setenv("NO_PROXY", "*")
