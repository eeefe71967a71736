"""The envelope as a client sees it, from servers that mean it well and others."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.client.events import seconds
from wsserver.client.retry import LONGEST_WAIT


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (25, 25.0),
        (0.5, 0.5),
        (0, 0.0),
        (-1, 0.0),
        ("25", 0.0),
        (None, 0.0),
        (float("inf"), 0.0),
        (float("nan"), 0.0),
        (1e300, LONGEST_WAIT),
        # More than a float can hold.
        (10**400, LONGEST_WAIT),
    ],
)
def test_a_time_is_a_number_that_makes_sense(value: Any, meant: float) -> None:
    assert seconds(value) == meant
