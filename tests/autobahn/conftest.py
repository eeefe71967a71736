"""A summary of the suite's results at the end of pytest's own: one line a section."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .fuzzingclient import Result

RESULTS = pytest.StashKey[dict[str, list["Result"]]]()


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Make room for the results, by framing."""
    config.stash.setdefault(RESULTS, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write, for each section and framing, how many cases there were and how they went."""
    results = config.stash.get(RESULTS, {})
    if not results:
        return
    framings = sorted(results)
    terminalreporter.section("Autobahn: cases = ok + informational + failed")
    counts = Counter((r.section, framing, r.outcome) for framing in framings for r in results[framing])
    for section in sorted({section for section, _, _ in counts}):
        cells = []
        for framing in framings:
            ok, informational, failed = (
                counts[section, framing, outcome] for outcome in ("ok", "informational", "failed")
            )
            total = ok + informational + failed
            cells.append(f"{framing}: {total:3} = {ok:3} + {informational} + {failed}")
        terminalreporter.write_line(f"section {section:2}  " + "   ".join(cells))
