"""How many, and how fast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.guard.limits import _PURGE_ABOVE, BURST, Counts, Rate, Rates


class TestCounts:
    def test_a_key_holds_no_more_than_the_limit(self) -> None:
        counts = Counts(2)
        assert [counts.take("ada") for _ in range(3)] == [True, True, False]
        assert (counts["ada"], counts["bob"], len(counts)) == (2, 0, 1)

    def test_what_is_refused_holds_nothing(self) -> None:
        counts = Counts(1)
        counts.take("ada")
        counts.take("ada")
        counts.release("ada")
        assert counts.take("ada")

    def test_keys_do_not_disturb_each_other(self) -> None:
        counts = Counts(1)
        assert counts.take("ada") and counts.take("bob") and counts.take(None)
        assert len(counts) == 3

    def test_who_holds_none_costs_nothing(self) -> None:
        counts = Counts(2)
        counts.take("ada")
        counts.take("ada")
        counts.release("ada")
        assert len(counts) == 1
        counts.release("ada")
        assert len(counts) == 0

    def test_what_was_not_taken_cannot_be_given_back(self) -> None:
        with pytest.raises(KeyError):
            Counts(1).release("ada")

    def test_0_is_no_limit(self) -> None:
        counts = Counts(0)
        assert all(counts.take("ada") for _ in range(1000))
        assert counts["ada"] == 1000


class TestRate:
    def test_none(self) -> None:
        assert Rate(0).interval == 0

    def test_says_how_long_to_wait(self) -> None:
        rate = Rate(2)
        until = 100.0
        for _ in range(8):
            until = rate.used(until, 100.0)
            assert rate.wait(until, 100.0) == 0
        until = rate.used(until, 100.0)
        assert rate.wait(until, 100.0) == pytest.approx(0.5)
        assert rate.wait(until, 100.25) == pytest.approx(0.25)
        assert rate.wait(until, 100.5) == 0

    def test_what_was_not_used_long_ago_is_not_saved_up(self) -> None:
        rate = Rate(1)
        assert rate.used(0.0, 1000.0) == 1001.0

    def test_a_burst_of_its_own(self) -> None:
        rate = Rate(1, 30)
        assert rate.wait(30.0, 0.0) == 0
        assert rate.wait(31.0, 0.0) == pytest.approx(1.0)


class TestRates:
    def test_what_is_spent_counts_whether_it_was_too_fast_or_not(self) -> None:
        rates = Rates(10)
        assert rates.spend("a", 40, 0.0) == 0
        assert rates.spend("a", 10, 0.0) == pytest.approx(1.0)
        assert rates.spend("a", 10, 0.0) == pytest.approx(2.0)
        assert rates.spend("b", 40, 0.0) == 0
        assert rates.spend("a", 1, 2.1) == 0

    def test_without_a_limit_nothing_is_spent(self) -> None:
        rates = Rates(0)
        assert rates.spend("a", 2**60, 0.0) == 0
        assert len(rates) == 0

    def test_a_flood_of_keys_that_spend_leaves_little_behind(self) -> None:
        rates = Rates(1000)
        for number in range(10_000):
            rates.spend(number, 1, number * 0.01)
        assert len(rates) <= _PURGE_ABOVE

    def test_a_burst_and_then_so_many_a_second(self) -> None:
        rates = Rates(20)
        assert [rates.take("a", 5.0) for _ in range(80)] == [0] * 80
        assert rates.take("a", 5.0) == pytest.approx(0.05)
        assert rates.take("a", 5.05) == 0
        assert rates.take("a", 5.05) == pytest.approx(0.05)

    def test_what_is_refused_uses_nothing(self) -> None:
        rates = Rates(1)
        for _ in range(100):
            rates.take("a", 0.0)
        assert rates.take("a", 1.0) == 0

    def test_who_waits_as_long_as_told_may_come(self) -> None:
        rates = Rates(3)
        now = 0.0
        while not (wait := rates.take("a", now)):
            pass
        assert rates.take("a", now + wait) == 0

    def test_keys_do_not_disturb_each_other(self) -> None:
        rates = Rates(0.5)
        assert [rates.take(key, 0.0) for key in ("a", "a", "b", "b")] == [0, 0, 0, 0]
        assert rates.take("a", 0.0) > 0

    def test_no_limit_remembers_nobody(self) -> None:
        rates = Rates(0)
        assert {rates.take("a", 0.0) for _ in range(1000)} == {0}
        assert len(rates) == 0

    @pytest.mark.parametrize("rate", [20, 7, 3, 1, 0.7, 0.15, 0.001])
    @given(now=st.floats(0, 2e9))
    def test_a_whole_burst_may_come_at_any_time(self, rate: float, now: float) -> None:
        # Where sums of floats are taken at their word, one of three first-comers is refused at 0.15 a second.
        rates = Rates(rate)
        assert [rates.take("a", now) for _ in range(max(1, int(BURST * rate)))] == [0] * max(1, int(BURST * rate))
        assert rates.take("a", now) > 0

    @given(
        rate=st.sampled_from([0.1, 0.5, 1.0, 3.0, 20.0]),
        pauses=st.lists(st.sampled_from([0.0]) | st.floats(0, 30), min_size=1, max_size=150),
        begin=st.floats(0, 1e6),
    )
    def test_never_more_than_rate_times_time_and_a_burst(self, rate: float, pauses: list[float], begin: float) -> None:
        rates = Rates(rate)
        now, taken = begin, []
        for pause in pauses:
            now += pause
            if not rates.take("a", now):
                taken.append(now)
        at_once = max(1.0, BURST * rate)
        for first, start in enumerate(taken):
            for last in range(first, len(taken)):
                assert last - first + 1 <= (taken[last] - start) * rate + at_once + 0.03

    @given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 3)), max_size=150))
    def test_remembers_no_more_than_twice_those_of_late(self, comings: list[tuple[int, float]]) -> None:
        rates = Rates(0.5)
        rates._purge_at = 8
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wsserver.guard.limits._PURGE_ABOVE", 8)
            now, most = 0.0, 0
            until: dict[int, float] = {}
            for key, pause in comings:
                now += pause
                if not rates.take(key, now):
                    until[key] = max(until.get(key, now), now) + 2.0
                most = max(most, sum(end > now for end in until.values()))
                assert len(rates) <= max(8, 2 * most)

    def test_a_flood_of_keys_leaves_little_behind(self) -> None:
        rates = Rates(20)
        for number in range(100_000):
            rates.take(number, number * 0.01)
        assert len(rates) <= _PURGE_ABOVE

    def test_looking_through_never_forgets_who_was_too_fast(self) -> None:
        rates = Rates(0.5)
        assert rates.take("a", 0.0) == rates.take("a", 0.0) == 0
        for number in range(2 * _PURGE_ABOVE):
            rates.take(number, 1.0)
        assert rates.take("a", 1.0) == pytest.approx(1.0)
