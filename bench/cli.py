"""`python -m bench` compare, overhead and store: what to run, from the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cores, jobs, loops, peers, report
from bench.compare import Plan, compare
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.peers import Peer

_ABOUT = """\
Measure what the protocol costs, on this machine, beside other servers.

  python -m bench compare --job stream --peers ours,picows,raw
  python -m bench compare --job all --rounds 3
  python -m bench compare --job scale --connections 1024
  python -m bench overhead
  python -m bench store --redis redis://127.0.0.1:6379/0
  pytest bench/micro

`compare` starts each peer in a process of its own, pinned to one core, with the load on another, and has them do the
same job in turns. Figures are medians of rounds; ratios are taken round by round. The figure to trust on a machine
that does other things too is the server's CPU time. Node's `ws` is found in ./node_modules or in the folder that the
variable WSSERVER_TEST_NODE_PATH names. `overhead` says what each layer of our server costs on top of the one below.
Tables go to standard output, progress to standard error, JSON and SVG charts to bench/results/.
"""


def _between(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    parse.__name__ = "number"
    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "compare",
        help="the same job by each peer, in turns",
        description="Jobs:\n" + "\n".join(f"  {name:10} {jobs.load(name).about}" for name in jobs.names()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("--job", default="stream", metavar="JOB,…", help="some of them, or all (default: stream)")
    add("--peers", metavar="PEER,…", help=f"of {', '.join(peers.names())} (default: all that are installed)")
    add("--rounds", type=_between(int, 1, 100), default=5, help="how often each peer runs (default: 5)")
    add("--connections", type=_between(int, 1, 10_000), default=0, help="default: as the job says")
    add("--turns", type=_between(int, 1, 1_000_000), default=0, help="per connection (default: what --seconds hold)")
    add("--seconds", type=_between(float, 0.05, 60), default=2.0, help="of one measured window (default: 2)")
    add("--realtime", action="store_true", help="other programs of this machine have to wait (needs root)")
    _add_results(command)
    command = commands.add_parser("overhead", help="what each layer costs on top of the one below")
    add = command.add_argument
    add("--rounds", type=_between(int, 1, 100), default=5, help="how often each layer runs (default: 5)")
    add("--messages", type=_between(int, 1, 10_000_000), default=20_000, help="a round (default: 20000)")
    _add_results(command)
    command = commands.add_parser("store", help="what sessions take in a Redis that nobody else uses, and cost there")
    add = command.add_argument
    add("--redis", default="redis://127.0.0.1:6379/0", metavar="URL", help="of one server (default: the local one)")
    add("--sessions", type=_between(int, 1, 1_000_000), default=10_000, help="default: 10000")
    return parser


def _add_results(command: argparse.ArgumentParser) -> None:
    text = "where JSON and charts go (default: bench/results)"
    command.add_argument("--results", type=Path, default=report.RESULTS, metavar="DIR", help=text)


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


def _compare(options: argparse.Namespace) -> None:
    """Print a table for each job."""
    plan = Plan(options.rounds, options.connections, options.turns, options.seconds, options.realtime)
    if options.realtime:
        cores.hurry()
    able = _peers(options.peers)
    names = jobs.names() if options.job == "all" else list(dict.fromkeys(options.job.split(",")))
    for job in [jobs.load(name) for name in names]:
        outcome = loops.run(compare(job, able, plan))
        path = report.save(outcome, plan, options.results)
        sys.stdout.write(report.table(outcome) + "\n")
        sys.stdout.flush()
        sys.stderr.write(f"written: {path}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "compare":
            _compare(options)
        elif options.command == "store":
            from bench.store import store  # it needs our server's modules, which a comparison does not

            store(options.redis, options.sessions)
        else:
            from bench.overhead import overhead

            overhead(options.rounds, options.messages, options.results)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
