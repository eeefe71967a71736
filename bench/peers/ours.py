"""This project's server with its defaults; only limits that one client on one address would meet are out of reach.

They are raised, not removed, so that counting towards them is paid for; by variables, which a server that does not
have such a limit ignores.
"""

from __future__ import annotations

from bench.peers import Peer
from bench.work import PING_INTERVAL

_SERVE = ("wsserver", "serve", "bench.apps:generate", "--port", "0")

PEER = Peer(
    name="ours",
    commands={
        "stream": _SERVE,
        "echo": (*_SERVE, "--echo"),
        "idle": (*_SERVE, "--ping-interval", str(PING_INTERVAL)),
    },
    paths={"echo": "/echo"},
    environment={
        "WSSERVER_MAX_CONNECTIONS": "20000",
        "WSSERVER_MAX_CONNECTIONS_PER_IP": "20000",
        "WSSERVER_MAX_CONNECTIONS_PER_USER": "20000",
        "WSSERVER_HANDSHAKE_RATE": "1000000",
        "WSSERVER_MESSAGE_RATE": "1000000",
        "WSSERVER_MAX_TURNS_PER_USER": "20000",
    },
)
