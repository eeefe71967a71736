"""The pauses before what has died is started again."""

from __future__ import annotations

import pytest

from wsserver.net.workers.backoff import Backoff


def pauses(random: float, *served: float) -> list[float]:
    backoff = Backoff(lambda: random)
    return [backoff.pause(seconds) for seconds in served]


def test_the_first_is_none_and_each_further_one_twice_as_long() -> None:
    assert pauses(1.0, *[0.0] * 6) == [0, 0.5, 1, 2, 4, 8]


def test_they_are_bounded() -> None:
    assert pauses(1.0, *[0.0] * 3000)[-1] == 30


@pytest.mark.parametrize("random, share", [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_each_is_at_least_half_of_that(random: float, share: float) -> None:
    assert pauses(random, 0, 0, 0, 0) == [0, 0.5 * share, 1 * share, 2 * share]


def test_what_served_long_enough_was_well() -> None:
    assert pauses(1.0, 0, 0, 59.9, 60, 0, 0) == [0, 0.5, 1, 0, 0.5, 1]
