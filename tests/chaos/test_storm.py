"""Nothing is lost, nothing comes twice, nothing runs twice, however often the network fails."""

from __future__ import annotations

import pytest

from tests.chaos.storm import Storm
from tests.clock import run_virtually


def test_a_crowd_of_conversations_through_hundreds_of_cuts() -> None:
    storm = Storm(seed=4, sessions=60, questions=2)
    run_virtually(storm.run())
    assert storm.cuts > 150


@pytest.mark.parametrize("framing", ["lanes", "wsproto"])
def test_also_with_a_log_that_holds_little_more_than_one_answer(framing: str) -> None:
    storm = Storm(seed=5, sessions=15, questions=2)
    run_virtually(storm.run(max_log_size=40_000, framing=framing))
    assert storm.cuts > 30


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_cuts(seed: int) -> None:
    """All ten of these are more than 10,000; by hand: `pytest -m soak tests/chaos`."""
    storm = Storm(seed, sessions=200, questions=3)
    run_virtually(storm.run())
    assert storm.cuts >= 1000
