"""A peer is a server to compare with: this is the list of them.

Each is served by a module here, in a process of its own; this process imports no library of theirs. A peer whose
library is not installed is missing, which is said.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.work import LARGE, PACE, PACED_TOKENS, PING_INTERVAL, STAMP_WIDTH, TOKEN, TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The node_modules folder that holds `ws`; without it the one of this checkout.
_NODE_PATH = "WSSERVER_TEST_NODE_PATH"
#: Address of a Redis for what needs one.
_REDIS = "WSSERVER_BENCH_REDIS"
_ROOT = Path(__file__).resolve().parents[2]


class PeerMissing(BenchError):
    """A library that the peer needs is not installed."""


@dataclass(frozen=True)
class Peer:
    """A server to compare with.

    `commands`: for each work it can do, what follows `program`. It must print `Listening on ws://HOST:PORT/PATH`.
    `paths`: for some work, another path than the printed one. `environment`: what its process finds there too.
    `missing`: what it needs and is not there.
    """

    name: str
    commands: Mapping[str, tuple[str, ...]]
    paths: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (sys.executable, "-m")
    missing: str = ""


_ALL_WORK = ("stream", "paced", "echo", "idle", "large")


def _served(name: str, module: str, *arguments: str, needs: tuple[str, ...] = (), work: tuple[str, ...]) -> Peer:
    """A peer that a module of this package serves, told the work, and what else it must know, by its arguments."""
    lacking = [package for package in needs if find_spec(package) is None]
    commands = {each: (f"{__name__}.{module}", each, *arguments) for each in work}
    return Peer(name, commands, missing=f"{', '.join(lacking)} not installed" if lacking else "")


def _fastapi(name: str, websocket: str, package: str, work: tuple[str, ...] = _ALL_WORK) -> Peer:
    needs = ("fastapi", "uvicorn", "httptools", package)
    return _served(f"fastapi-{name}", "fastapi", websocket, needs=needs, work=work)


def _ours() -> Peer:
    """This project's server with its defaults; only limits that one client on one address would meet are out of reach.

    They are raised, not removed, so that counting towards them is paid for; by variables, which a server that does
    not have such a limit ignores.
    """
    serve = ("wsserver", "serve", "bench.apps:generate", "--port", "0")
    return Peer(
        name="ours",
        commands={
            "stream": serve,
            "paced": ("wsserver", "serve", "bench.apps:paced", "--port", "0"),
            "echo": serve,
            "idle": (*serve, "--ping-interval", str(PING_INTERVAL)),
            "large": (*serve, "--echo", "--max-message-size", str(LARGE)),
            "resume": serve,
        },
        paths={"large": "/echo"},
        environment={
            "WSSERVER_MAX_CONNECTIONS": "20000",
            "WSSERVER_MAX_CONNECTIONS_PER_IP": "20000",
            "WSSERVER_MAX_CONNECTIONS_PER_USER": "20000",
            "WSSERVER_HANDSHAKE_RATE": "1000000",
            "WSSERVER_MESSAGE_RATE": "1000000",
            "WSSERVER_MAX_TURNS_PER_USER": "20000",
        },
    )


def _unlimited() -> Peer:
    """The same server without its limits and deadlines: what they cost is the difference."""
    limits = (
        *("MAX_MESSAGE_SIZE", "MAX_MEMORY", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_IP", "MAX_CONNECTIONS_PER_USER"),
        *("HANDSHAKE_RATE", "MESSAGE_RATE", "BYTE_RATE", "MAX_TURNS_PER_USER"),
        *("OPEN_TIMEOUT", "CLOSE_TIMEOUT", "WRITE_TIMEOUT", "TURN_TIMEOUT"),
    )
    ours = _ours().commands
    return Peer(
        name="ours-unlimited",
        commands={work: ours[work] for work in ("stream", "echo")},
        environment={f"WSSERVER_{limit}": "0" for limit in limits},
    )


def _shared() -> Peer:
    """The same server with its sessions on a Redis, whose CPU time is not in what is measured."""
    ours, redis = _ours(), os.environ.get(_REDIS, "")
    return Peer(
        name="ours-redis",
        commands={work: ours.commands[work] for work in ("stream", "paced", "idle", "resume")},
        environment={**ours.environment, "WSSERVER_REDIS": redis},
        missing="" if redis else f"{_REDIS} names no Redis",
    )


def _node() -> Peer:
    """`ws` of Node, where both are."""
    modules = os.environ.get(_NODE_PATH) or str(_ROOT / "node_modules")
    node = shutil.which("node")
    there = node and (Path(modules) / "ws").is_dir()
    script = str(Path(__file__).with_name("node_ws.cjs"))
    constants = json.dumps(
        {
            "tokens": TOKENS,
            "token": TOKEN,
            "pacedTokens": PACED_TOKENS,
            "pace": PACE * 1000,
            "stampWidth": STAMP_WIDTH,
            "pingInterval": PING_INTERVAL * 1000,
            "largest": 2 * LARGE,
        }
    )
    return Peer(
        name="node-ws",
        commands={work: (script, work, constants) for work in _ALL_WORK},
        environment={"NODE_PATH": modules},
        program=(node or "node",),
        missing="" if there else f"needs Node, and ws in node_modules or in the folder that {_NODE_PATH} names",
    )


def _all() -> dict[str, Peer]:
    peers = (
        _ours(),
        _unlimited(),
        _shared(),
        _served("raw", "raw", work=_ALL_WORK),
        _served("raw-batched", "raw", "batched", work=("stream", "paced")),
        _served("picows", "picows", needs=("picows",), work=_ALL_WORK),
        _served("websockets", "websockets", needs=("websockets",), work=_ALL_WORK),
        _served("websockets-pure", "websockets", "pure", needs=("websockets",), work=("large",)),
        _served("aiohttp", "aiohttp", needs=("aiohttp",), work=_ALL_WORK),
        _fastapi("websockets", "websockets", "websockets"),
        _fastapi("sansio", "websockets-sansio", "websockets"),
        # uvicorn sends no pings by wsproto.
        _fastapi("wsproto", "wsproto", "wsproto", work=("stream", "paced", "echo", "large")),
        _node(),
    )
    return {peer.name: peer for peer in peers}


def names() -> list[str]:
    """All peers there are, ours first."""
    return list(_all())


def load(name: str) -> Peer:
    """The peer of that name; `PeerMissing` where what it needs is not installed."""
    peer = _all().get(name)
    if peer is None:
        raise BenchError(f"no peer {name!r}; there are: {', '.join(names())}")
    if peer.missing:
        raise PeerMissing(f"peer {name}: {peer.missing}")
    return peer
