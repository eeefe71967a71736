"""The kinds of stores that keep the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store.worlds import in_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.worlds import Script


@pytest.fixture(params=["memory"])
def run(request: pytest.FixtureRequest) -> Callable[[Script], None]:
    """Runs a script in a world that nobody else is in."""
    return in_memory
