"""What each layer costs: all layers run, and stand on one another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench import cli, loops
from bench.overhead import BATCH, WAYS, Layer, measure

if TYPE_CHECKING:
    from pathlib import Path


def test_a_tiny_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["overhead", "--rounds", "1", "--messages", "200", "--results", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    (path,) = tmp_path.glob("*-overhead.json")
    costs = json.loads(path.read_text(encoding="utf-8"))["costs"]
    picture = path.with_suffix(".svg").read_text(encoding="utf-8")
    for way, layers in WAYS.items():
        assert way in output
        totals = {cost["name"]: cost["total"] for cost in costs[way]}
        for cost, layer in zip(costs[way], layers, strict=True):
            assert cost["name"] == layer.name
            assert layer.name in picture
            assert cost["added"] == pytest.approx(cost["total"] - totals.get(layer.below, 0.0))
        # What is true by a factor of hundreds is true on any machine.
        assert totals["framing, wsproto"] > totals["framing, lanes"]


def test_a_layer_is_measured_against_the_one_below_in_the_same_round() -> None:
    rounds = {"low": iter([9, 1, 2, 30]), "high": iter([9, 11, 22, 33])}  # the first only warms up

    def layer(name: str, below: str) -> Layer:
        async def run(batches: int) -> int:
            return next(rounds[name]) * batches * BATCH

        return Layer(name, below, run)

    low, high = loops.run(measure((layer("low", ""), layer("high", "low")), 3, 1))
    assert (low.total, low.low, low.high, low.added) == (2, 1, 30, 2)
    assert (high.total, high.added) == (22, 10)
