"""Plain integers, and histograms of them."""

from __future__ import annotations

import pytest

from wsserver.counters import EVENTS, Counters, Histogram, count


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (1, 0), (1.5, 1), (2, 1), (10, 2), (10.1, 3), (1e9, 3)], ids=str)
def test_a_value_counts_at_the_first_bound_that_is_not_below_it(value: float, bucket: int) -> None:
    histogram = Histogram((1, 2, 10))
    histogram.observe(value)
    assert histogram.document() == {"counts": [int(place == bucket) for place in range(4)], "sum": value}


def test_a_document_does_not_change_afterwards() -> None:
    histogram = Histogram((1,))
    before = histogram.document()
    histogram.observe(0.5)
    assert (before, histogram.document()) == ({"counts": [0, 0], "sum": 0.0}, {"counts": [1, 0], "sum": 0.5})


def test_names_are_counted() -> None:
    table: dict[str, int] = {}
    for name in ("a", "b", "a"):
        count(table, name)
    assert table == {"a": 2, "b": 1}


def test_two_servers_count_apart() -> None:
    one, other = Counters(), Counters()
    one.replayed.observe(3)
    count(one.turns, "completed")
    assert sum(other.replayed.counts) == 0
    assert len(other.replayed.counts) == len(EVENTS) + 1
    assert not other.turns.get("completed")
