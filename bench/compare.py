"""The same job by each peer, in turns: A B C, A B C, …, so that what the machine does meanwhile meets all alike."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from bench import cores
from bench.errors import BenchError
from bench.jobs import Run
from bench.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.jobs import Job
    from bench.peers import Peer

#: Files that a process needs beside its connections.
_SPARE_FILES = 200


@dataclass(frozen=True)
class Plan:
    """How often and how much; 0 connections: as the job says, 0 turns: as many as make `seconds`."""

    rounds: int = 5
    connections: int = 0
    turns: int = 0
    seconds: float = 2.0
    realtime: bool = False  # other programs had to wait


@dataclass(frozen=True)
class Outcome:
    """`samples[peer][round]` are the figures of one run."""

    job: Job
    connections: int
    meter: str
    samples: dict[str, list[dict[str, float]]]


async def compare(job: Job, peers: Sequence[Peer], plan: Plan) -> Outcome:
    """Run `plan.rounds` rounds of all peers that do this job."""
    able = [peer for peer in peers if job.work in peer.commands]
    if not able:
        raise BenchError(f"no peer does the job {job.name}")
    connections = plan.connections or job.connections
    allowed = cores.allow_files(connections + _SPARE_FILES)
    if allowed < connections + _SPARE_FILES:
        raise BenchError(f"{connections} connections need more than the {allowed} files a process may open here")
    server_core, load_core = cores.plan() or (None, None)
    samples: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in able}
    meter = ""
    with cores.pinned(load_core):
        for number in range(1, plan.rounds + 1):
            for peer in able:
                _progress(f"{job.name} {number}/{plan.rounds} {peer.name} …")
                started = perf_counter()
                try:
                    command = peer.commands[job.work]
                    async with ServerProcess(command, server_core, peer.environment, program=peer.program) as server:
                        run = Run(server.url, server.meter, connections, plan.turns, plan.seconds)
                        sample = await job.measure(run, peer.paths.get(job.work, ""))
                        sample["peak"] = await server.meter.peak() / 2**20
                        meter = server.meter.source
                except BenchError as error:
                    _progress("")
                    raise BenchError(f"{job.name}, {peer.name}, round {number}: {error}") from error
                samples[peer.name].append(sample)
                figures = ", ".join(f"{sample[c.key]:{c.form}} {c.title}" for c in job.columns if c.key in sample)
                took = perf_counter() - started
                _progress(f"{job.name} {number}/{plan.rounds} {peer.name}: {figures} ({took:.1f} s)", end=True)
    return Outcome(job, connections, meter, samples)


def _progress(text: str, *, end: bool = False) -> None:
    """Say on stderr what is going on: one line that is rewritten on a terminal, else a line a run."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + text + ("\n" if end else ""))
    elif end:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()
