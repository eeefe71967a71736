"""The job `stream` with few, many and very many connections, one after the other at the same server."""

from __future__ import annotations

from bench.jobs import PEAK, Column, Job, Run
from bench.jobs.stream import stream
from bench.work import TOKENS

#: The most connections are so many times the fewest, and those between.
_FEW, _MANY = 256, 16


async def measure(run: Run, path: str) -> dict[str, float]:
    """CPU time of a token at each size."""
    parts = {}
    for key, divisor in {"few": _FEW, "many": _MANY}.items():
        window, tokens = await stream(run, path, max(1, run.connections // divisor))
        parts[key] = window.cpu / tokens * 1e6
    window, tokens = await stream(run, path, run.connections)
    figures = window.figures(tokens) | parts
    figures["growth"] = figures["cpu"] / figures["few"]
    return figures


JOB = Job(
    name="scale",
    work="stream",
    about=f"answers of {TOKENS} tokens with n/{_FEW}, n/{_MANY} and n connections",
    connections=4096,
    columns=(
        Column("few", f"CPU µs/token, n/{_FEW}", ".2f", compared=True),
        Column("many", f"CPU µs/token, n/{_MANY}", ".2f", compared=True),
        Column("cpu", "CPU µs/token, n", ".2f", compared=True),
        Column("growth", f"n ÷ n/{_FEW}", ".2f"),
        Column("rate", "tokens/s, n", ",.0f"),
        PEAK,
    ),
    measure=measure,
)
