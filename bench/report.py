"""From samples to a table and a chart for people, and a JSON file for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import comb
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import chart, loops
from bench.jobs import WAITED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.compare import Outcome, Plan
    from bench.jobs import Column

#: Where results go; not under version control.
RESULTS = Path(__file__).resolve().parent / "results"

#: An interval is wrong this often.
_DOUBT = 0.05

#: Percent of the time: from here on a server was kept from its core, or the load was short of its own.
_BUSY, _FULL = 5.0, 95.0


@dataclass(frozen=True)
class Spread:
    """Median and extremes over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))

    def show(self, form: str) -> str:
        """`9.81 (9.75–9.90)`."""
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def base_of(outcome: Outcome) -> str:
    """Whom the others are compared with: ours, or the first."""
    return "ours" if "ours" in outcome.samples else next(iter(outcome.samples))


def columns(outcome: Outcome) -> list[Column]:
    """Those of the job whose figures all runs could get."""
    samples = [sample for rounds in outcome.samples.values() for sample in rounds]
    return [column for column in outcome.job.columns if all(column.key in sample for sample in samples)]


def figures(outcome: Outcome, peer: str, key: str) -> Spread:
    """One figure of one peer."""
    return Spread.of([sample[key] for sample in outcome.samples[peer]])


def ratios(outcome: Outcome, peer: str, key: str) -> Spread | None:
    """The figure over the base's figure of the same round; None where a round's base is not above 0."""
    found = _ratios(outcome, peer, key)
    return Spread.of(found) if found is not None else None


def _ratios(outcome: Outcome, peer: str, key: str) -> list[float] | None:
    pairs = list(zip(outcome.samples[peer], outcome.samples[base_of(outcome)], strict=True))
    return None if any(base[key] <= 0 for _, base in pairs) else [sample[key] / base[key] for sample, base in pairs]


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where the median of many more rounds would lie, with 95 % certainty; None where there are too few to say.

    By order statistics: of so many rounds, each as likely below the true median as above, hardly ever do fewer than
    `rank` fall on one side. It asks for no distribution.
    """
    count = len(values)
    tail, rank = 0.0, 0
    while (tail := tail + comb(count, rank) / 2**count) <= _DOUBT / 2:
        rank += 1
    ordered = sorted(values)
    return (ordered[rank - 1], ordered[count - rank]) if rank else None


def _intervals(outcome: Outcome) -> list[str]:
    """A line for each ratio of CPU and of instructions of which an interval can be said."""
    lines = []
    base = base_of(outcome)
    for column in columns(outcome):
        for peer in outcome.samples if column.key in ("cpu", "instructions") else ():
            found = interval(_ratios(outcome, peer, column.key) or ()) if peer != base else None
            if found is not None:
                ratio = ratios(outcome, peer, column.key)
                assert ratio is not None
                low, high = found
                told = f"{peer} {ratio.median:.3f}, with 95 % certainty {low:.3f} to {high:.3f}"
                lines.append(f"{column.title} ÷ {base}: {told}")
    return lines


def table(outcome: Outcome) -> str:
    """A heading and a row for each peer: median (min–max), then ratios to the base, round by round."""
    job, base = outcome.job, base_of(outcome)
    shown = columns(outcome)
    compared = [column for column in shown if column.compared]
    head = ["peer", *(column.title for column in shown), *(f"{c.title} ÷ {base}" for c in compared)]
    rows = [head]
    for peer in outcome.samples:
        row = [peer, *(figures(outcome, peer, column.key).show(column.form) for column in shown)]
        for column in compared:
            ratio = ratios(outcome, peer, column.key)
            row.append("1" if peer == base else ratio.show(".2f") if ratio else "–")
        rows.append(row)
    count = len(outcome.samples[base])
    title = (
        f"{job.name}: {job.about}; {outcome.connections} connections, {count} rounds in turns, median (min–max), "
        f"CPU as told by {outcome.meter}"
    )
    return "\n".join([title, aligned(rows), *_intervals(outcome), *_warnings(outcome)]) + "\n"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _warnings(outcome: Outcome) -> list[str]:
    """What makes the figures worth less."""
    lines = []
    for peer in outcome.samples:
        if (waited := figures(outcome, peer, WAITED).median) > _BUSY:
            lines.append(f"! {peer} waited for its core {waited:.0f} % of the time: other programs were running")
        if (load := figures(outcome, peer, "load").median) > _FULL:
            lines.append(f"! {peer}: the load took {load:.0f} % of its own core and may be what was measured")
    return lines


def machine() -> dict[str, Any]:
    """What the figures depend on, without names of hosts or places."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "loop": loops.name(),
    }


def document(outcome: Outcome, plan: Plan, when: datetime) -> dict[str, Any]:
    """All that was measured, with its summary."""
    keys = next(iter(outcome.samples.values()))[0].keys()
    return {
        "job": outcome.job.name,
        "when": when.isoformat(timespec="seconds"),
        "machine": machine(),
        "plan": asdict(plan) | {"connections": outcome.connections},
        "meter": outcome.meter,
        "base": base_of(outcome),
        "samples": outcome.samples,
        "median": {peer: {key: figures(outcome, peer, key).median for key in keys} for peer in outcome.samples},
        "ratio": {
            peer: {
                column.key: asdict(ratio) if (ratio := ratios(outcome, peer, column.key)) else None
                for column in columns(outcome)
                if column.compared
            }
            for peer in outcome.samples
        },
    }


def panels(outcome: Outcome) -> list[chart.Panel]:
    """A panel of the chart for each figure that is compared, the base first."""
    return [
        chart.Panel(
            column.title,
            [
                chart.Bar(
                    peer,
                    (spread := figures(outcome, peer, column.key)).median,
                    spread.low,
                    spread.high,
                    f"{spread.median:{column.form}}" + _times(ratios(outcome, peer, column.key), peer, outcome),
                )
                for peer in outcome.samples
            ],
        )
        for column in columns(outcome)
        if column.compared
    ]


def _times(ratio: Spread | None, peer: str, outcome: Outcome) -> str:
    return f" ({ratio.median:.2f} ×)" if ratio is not None and peer != base_of(outcome) else ""


def save(outcome: Outcome, plan: Plan, directory: Path) -> Path:
    """Write the document, and the chart beside it; return where the document is."""
    when = datetime.now(UTC)
    told = document(outcome, plan, when)
    path = write(directory, outcome.job.name, when, told)
    about, base = machine(), base_of(outcome)
    subtitle = (
        f"{outcome.connections} connections, medians of {len(outcome.samples[base])} rounds, lines from least to most, "
        f"× {base}; {about['python']}, {about['loop']}, {about['cores']} cores"
    )
    picture = chart.draw(f"{outcome.job.name}: {outcome.job.about}", subtitle, panels(outcome))
    path.with_suffix(".svg").write_text(picture, encoding="utf-8")
    return path


def write(directory: Path, name: str, when: datetime, told: dict[str, Any]) -> Path:
    """Write a JSON file of that name and time."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{when:%Y%m%dT%H%M%SZ}-{name}.json"
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
