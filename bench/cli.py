"""`python -m bench compare`: what to run, from the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import jobs, loops, peers, report
from bench.compare import Plan, compare
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.peers import Peer


def _between(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    parse.__name__ = "number"
    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what the protocol costs.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("compare", help="the same job by each peer, in turns")
    add = command.add_argument
    add("--job", default="stream", metavar="JOB,…", help=f"of {', '.join(jobs.names())} (default: stream)")
    add("--peers", metavar="PEER,…", help=f"of {', '.join(peers.names())} (default: all that are installed)")
    add("--rounds", type=_between(int, 1, 100), default=5, help="how often each peer runs (default: 5)")
    add("--connections", type=_between(int, 1, 10_000), default=0, help="default: as the job says")
    add("--turns", type=_between(int, 1, 1_000_000), default=0, help="per connection (default: what --seconds hold)")
    add("--seconds", type=_between(float, 0.05, 60), default=2.0, help="of one measured window (default: 2)")
    add("--results", type=Path, default=report.RESULTS, metavar="DIR", help="where JSON goes (default: bench/results)")
    return parser


def _peers(names: str | None) -> list[Peer]:
    """Those asked for must be there; of all, those that are missing are left out and said."""
    if names is not None:
        return [peers.load(name) for name in dict.fromkeys(names.split(","))]
    found = []
    for name in peers.names():
        try:
            found.append(peers.load(name))
        except peers.PeerMissing as missing:
            sys.stderr.write(f"left out: {missing}\n")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a table for each job, and return the exit code."""
    options = _parser().parse_args(arguments)
    plan = Plan(options.rounds, options.connections, options.turns, options.seconds)
    try:
        able = _peers(options.peers)
        for job in [jobs.load(name) for name in dict.fromkeys(options.job.split(","))]:
            outcome = loops.run(compare(job, able, plan))
            path = report.save(outcome, plan, options.results)
            sys.stdout.write(report.table(outcome) + "\n")
            sys.stdout.flush()
            sys.stderr.write(f"written: {path.name}\n")
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
