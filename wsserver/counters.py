"""What one process has counted since it began: plain integers, added to where things happen, read when somebody asks.

What can be read off the server when asked, such as open connections or the bytes that wait, is counted by nobody:
`net/metrics.py` puts both together, and says what each figure means.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bounds of the histograms: of waiting, of whole turns, of events at a time.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TURN_SECONDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
EVENTS = (0, 1, 10, 100, 1_000, 10_000, 100_000)

#: Stands for what is in no table: the names of a label must not grow with what clients and applications make up.
OTHER = "other"

#: Why a handshake was refused, or a socket cut before it. What an application refuses is all of the last kind.
REASONS = frozenset(
    "malformed no_upgrade path credentials token unchecked host origin rate address user full draining slow"
    " store failure sockets preamble application".split()
)


class Histogram:
    """How many values were at most as large as each of `bounds`, and more than the one before; the last: than all."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def document(self) -> dict[str, object]:
        return {"counts": list(self.counts), "sum": self.sum}


@dataclass(slots=True)
class Counters:
    """All of them. Messages, bytes and tokens are those of connections and turns that are over."""

    opened: int = 0  # connections
    closed: dict[str, int] = field(default_factory=dict)  # by code
    refused: dict[str, dict[str, int]] = field(default_factory=dict)  # handshakes, by status and reason
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    sessions: int = 0  # ever begun
    resumes: dict[str, int] = field(default_factory=dict)  # by result
    replayed: Histogram = field(default_factory=lambda: Histogram(EVENTS))
    turns: dict[str, int] = field(default_factory=dict)  # by their end
    tokens: int = 0
    first_token: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    token_gap: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    turn: Histogram = field(default_factory=lambda: Histogram(TURN_SECONDS))
    stop: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    cancel: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    loop_lag: Histogram = field(default_factory=lambda: Histogram(SECONDS))


def count(table: dict[str, int], name: str) -> None:
    """One more of this name."""
    table[name] = table.get(name, 0) + 1
