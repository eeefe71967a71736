"""What a worker is given by its supervisor: the place that it takes, a channel to it, and listening sockets.

Both programs are the same command line. Which of them a process is says a variable, which names the descriptors that
it has inherited: `index:channel:listener,listener…`. What passes over the channel, a pair of UNIX stream sockets, is

    worker → supervisor   READY     clients are served
                          LEAVING   no more: another one may take the place
    supervisor → worker   REQUEST   with a descriptor: a connection for one admin request
                          CLIENT+n  with a descriptor: a client that was accepted on the nth listening socket elsewhere
    end of file           the other one is gone
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ...errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "WSSERVER_WORKER"

READY, LEAVING, REQUEST = b"R", b"L", b"A"
CLIENT = 128


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the workers this process is, and what it was given."""

    index: int
    channel: socket.socket
    listeners: list[socket.socket]

    @property
    def name(self) -> str:
        """As the log calls it."""
        return name_of(self.index)


def name_of(index: int) -> str:
    """What the log calls the worker at this place."""
    return f"worker {index}"


def written(index: int, channel: socket.socket, listeners: Sequence[socket.socket]) -> str:
    """The value of the variable for a process that inherits these sockets."""
    return f"{index}:{channel.fileno()}:{','.join(str(listener.fileno()) for listener in listeners)}"


@cache
def place() -> Place | None:
    """The place of this process, None where it is no worker.

    Asked once, the variable is gone, and no child inherits the sockets. Raises `ConfigError` for what no supervisor has
    set.
    """
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    taken: list[socket.socket] = []
    try:
        index, channel, listeners = text.split(":")
        number, descriptors = int(index), [int(channel), *map(int, listeners.split(","))]
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            taken.append(socket.socket(fileno=descriptor))
        return Place(number, taken[0], taken[1:])
    except (ValueError, OSError):
        for sock in taken:
            sock.close()
        raise ConfigError(f"{VARIABLE} is for workers, and set by their supervisor only: leave it away") from None
