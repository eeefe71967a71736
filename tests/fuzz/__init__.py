"""Hostile input, made by machines: each module named here is a harness, whose function `one` takes any bytes.

The docstring of `one` is its invariant, in one sentence; it raises where that is broken. `SEEDS` are inputs to begin
with. `python -m tests.fuzz` has atheris look for inputs that go farther; `test_fuzz.py` tries a few on any Python. What
was found stands in `regressions/<harness>/` and is tried by every run of the tests.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

#: The harnesses, and their shares of a long run: those that are quick get more.
SHARES = {
    "client": 1,
    "credentials": 3,
    "door": 3,
    "envelope": 3,
    "handshake": 1,
    "inflate": 3,
    "jwks": 3,
    "jwt": 3,
    "offers": 3,
    "opening": 1,
    "preamble": 3,
    "protocol": 1,
    "sending": 1,
    "tokens": 3,
}
NAMES = tuple(SHARES)

REGRESSIONS = Path(__file__).with_name("regressions")


class Harness(NamedTuple):
    """What is in each of the modules."""

    one: Callable[[bytes], None]
    seeds: list[bytes]


def load(name: str) -> Harness:
    """The harness of this name."""
    assert name in NAMES, f"no harness {name!r}; there are: {', '.join(NAMES)}"
    module = importlib.import_module(f"{__name__}.{name}")
    return Harness(module.one, module.SEEDS)


def regressions(name: str) -> list[Path]:
    """What was once found with this harness."""
    return sorted(path for path in REGRESSIONS.glob(f"{name}/*") if path.is_file())
