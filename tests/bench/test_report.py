"""Tables, ratios and the document."""

from __future__ import annotations

import json
from math import log
from random import Random
from typing import TYPE_CHECKING

from bench import report
from bench.compare import Outcome, Plan
from bench.jobs import Column, Job, Run

if TYPE_CHECKING:
    from pathlib import Path


async def nothing(run: Run, path: str) -> dict[str, float]:
    raise AssertionError("only told of, never run")


JOB = Job(
    name="made-up",
    work="stream",
    about="<nothing> at all",
    connections=3,
    columns=(
        Column("cpu", "CPU µs", ".1f", compared=True),
        Column("instructions", "instructions", ".0f", compared=True),
        Column("empty", "empty", ".0f", compared=True),
    ),
    measure=nothing,
)


def sample(cpu: float, waited: float = 0.0, **more: float) -> dict[str, float]:
    return {"cpu": cpu, "empty": 0.0, "waited": waited, "load": 10.0, **more}


def outcome(**more: float) -> Outcome:
    """The middle ratio is that of a round, and not the ratio of the medians, which would be 2."""
    ours = [sample(1.0, **more), sample(2.0, **more), sample(8.0, **more)]
    other = [sample(3.0, 20.0, **more), sample(4.0, 20.0, **more), sample(9.0, 20.0, **more)]
    return Outcome(JOB, 3, "schedstat", {"other": other, "ours": ours})


def test_ratios_are_taken_round_by_round() -> None:
    assert report.ratios(outcome(), "other", "cpu") == report.Spread(2.0, 1.125, 3.0)
    assert report.figures(outcome(), "other", "cpu") == report.Spread(4.0, 3.0, 9.0)


def test_no_ratio_to_nothing() -> None:
    assert report.ratios(outcome(), "other", "empty") is None


def test_an_interval_holds_the_median_of_most_samples() -> None:
    assert report.interval(range(1, 31)) == (10, 21)
    assert report.interval([3, 1, 2, 5, 4, 6]) == (1, 6)
    assert report.interval(range(5)) is None
    assert report.interval([]) is None
    random = Random(1)
    found = [report.interval([random.expovariate(1) for _ in range(30)]) for _ in range(1000)]
    assert 940 < sum(pair is not None and pair[0] <= log(2) <= pair[1] for pair in found) < 980


def test_an_interval_is_told_where_there_is_one() -> None:
    few = outcome()
    many = Outcome(JOB, 3, "schedstat", {peer: rounds * 10 for peer, rounds in few.samples.items()})
    assert "certainty" not in report.table(few)
    assert "\nCPU µs ÷ ours: other 2.000, with 95 % certainty 1.125 to 3.000\n" in report.table(many)


def test_table() -> None:
    title, head, other, ours, warning = report.table(outcome()).splitlines()
    assert title.startswith("made-up: <nothing> at all; 3 connections, 3 rounds in turns")
    assert "CPU µs ÷ ours" in head
    assert "instructions" not in head  # no run could count them
    assert other.split() == ["other", "4.0", "(3.0–9.0)", "0", "(0–0)", "2.00", "(1.12–3.00)", "–"]
    assert ours.split()[-2:] == ["1", "1"]
    assert warning == "! other waited for its core 20 % of the time: other programs were running"


def test_what_could_be_counted_is_shown() -> None:
    assert "instructions" in report.table(outcome(instructions=1000.0)).splitlines()[1]


def test_document_and_chart(tmp_path: Path) -> None:
    path = report.save(outcome(), Plan(rounds=3), tmp_path)
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["base"] == "ours"
    assert told["median"]["other"]["cpu"] == 4.0
    assert told["ratio"]["other"]["cpu"] == {"median": 2.0, "low": 1.125, "high": 3.0}
    assert told["ratio"]["other"]["empty"] is None
    assert "4.0 (2.00 ×)" in path.with_suffix(".svg").read_text(encoding="utf-8")
