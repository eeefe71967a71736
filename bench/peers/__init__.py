"""A peer is a server to compare with; each module here holds one as `PEER`.

A peer may need a library: it imports it at its top, and where that fails the peer is missing, which is said.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping


class PeerMissing(BenchError):
    """A library that the peer needs is not installed."""


@dataclass(frozen=True)
class Peer:
    """`commands`: for each job it can do, what follows `python -m`. It must print `Listening on ws://HOST:PORT/PATH`.

    `paths`: for some jobs, another path than the printed one. `environment`: what its process finds there too.
    """

    name: str
    commands: Mapping[str, tuple[str, ...]]
    paths: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def served_here(name: str, *jobs: str) -> Peer:
    """The peer that the module of that name here serves by itself, told the job by its argument."""
    return Peer(name, {job: (f"{__name__}.{name}", job) for job in jobs})


def names() -> list[str]:
    """All peers there are, ours first."""
    return sorted((module.name for module in pkgutil.iter_modules(__path__)), key=lambda name: (name != "ours", name))


def load(name: str) -> Peer:
    """The peer of that name; `PeerMissing` where its library is not installed."""
    if name not in names():
        raise BenchError(f"no peer {name!r}; there are: {', '.join(names())}")
    try:
        peer = importlib.import_module(f"{__name__}.{name}").PEER
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "bench":
            raise
        raise PeerMissing(f"peer {name}: {error.name} is not installed") from error
    assert isinstance(peer, Peer)
    return peer
